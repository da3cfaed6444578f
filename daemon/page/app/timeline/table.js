// The newest segments as a table: for screen readers, and to open one without a pointer.

import { attribute, button, clearKeyed, h, keyed, text } from "../dom.js";
import { clock, percent, t } from "../texts/index.js";

const LISTED = 40;
const COLUMNS = ["speaker", "from", "to", "length", "confidence", "state"];

/** `open` gets the segment that is chosen. */
export function segmentTable(app, open) {
    const name = h("summary", { id: "segment-table" });
    const body = h("tbody", {});
    const head = h("tr", {});
    const element = h("details", { class: "card", open: matchMedia("(min-width: 761px)").matches }, name,
        h("div", { class: "scroll" }, h("table", { "aria-labelledby": "segment-table" }, h("thead", {}, head), body)));
    element.addEventListener("toggle", () => app.redraw());
    /** The model and its version that the rows show. */
    let listed = {};

    function row({ id }) {
        const cells = COLUMNS.map(() => h("td", {}));
        const who = h("span", {});
        const said = h("span", { class: "said", hidden: true });
        cells[0].append(who, said);
        const give = button("button small ghost", () => open(listed.model.segments.get(id)), t("timeline.someoneElse"));
        return Object.assign(h("tr", {}, ...cells, h("td", {}, give)), { parts: [who, ...cells.slice(1)], said });
    }

    function show(model, { parts, said }, s) {
        const words = model.textOf(s.id);
        text(said, words);
        attribute(said, "hidden", words === "");
        const values = [
            model.nameOf(s.speaker), clock(s.start, 1), clock(s.end, 1), clock(s.end - s.start, 1),
            percent(s.confidence), t(s.final ? "timeline.final" : "timeline.provisional"),
        ];
        values.forEach((value, idx) => text(parts[idx], value));
    }

    function update(model) {
        if (!element.open || (listed.model === model && listed.version === model.version)) return;
        listed = { model, version: model.version };
        const rows = [...model.segments.values()].sort((a, b) => b.start - a.start || b.id - a.id).slice(0, LISTED);
        keyed(body, rows, (s) => s.id, row, (item, s) => show(model, item, s));
    }

    function words() {
        text(name, t("timeline.list"));
        head.replaceChildren(...COLUMNS.map((key) => h("th", { scope: "col" }, t(`timeline.${key}`))),
            h("th", {}, h("span", { class: "unseen" }, t("timeline.someoneElse"))));
        clearKeyed(body);
        listed = {};
    }

    return { element, update, words };
}
