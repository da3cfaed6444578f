// Says that a speaker is two people: the server finds the second one, or the person picks the segments.

import { attribute, h, keyed, text } from "../dom.js";
import { clock, percent, t } from "../texts/index.js";

/** Number of segments offered, newest first; older ones are on the timeline. */
const OFFERED = 200;

export function splitDialog(app) {
    const { store } = app;
    const title = h("h2", { id: "split-title" });
    const note = h("p", { class: "hint" });
    const [found, picked] = ["found", "picked"].map((how) => {
        const input = h("input", { type: "radio", name: "how", value: how });
        const said = h("span", {});
        return { input, said, element: h("label", { class: "option plain" }, input, said) };
    });
    const list = h("div", { class: "options picks", role: "group", "aria-labelledby": "split-title" });
    const older = h("p", { class: "hint" });
    const act = h("button", { type: "submit", class: "button primary" });
    const cancel = h("button", { type: "button", class: "button", on: { click: () => element.close() } });
    const form = h("form", {}, title, note,
        h("div", { class: "options", role: "radiogroup", "aria-labelledby": "split-title" }, found.element, picked.element),
        list, older, h("div", { class: "acts" }, act, cancel));
    const element = h("dialog", { "aria-labelledby": "split-title" }, form);
    let from;

    const chosen = () => [...list.querySelectorAll("input:checked")].map((input) => Number(input.value));
    const offered = (model) => [...model.segments.values()]
        .filter((segment) => segment.speaker === from && segment.final)
        .sort((a, b) => b.start - a.start);

    form.addEventListener("change", () => update(store.followed));
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        const segments = picked.input.checked ? chosen() : [];
        app.correct({ type: "split", speaker: from, ...(segments.length > 0 ? { segments } : {}) });
        element.close();
    });

    function update(followed) {
        if (!element.open) return;
        const { model } = followed;
        if (!model.speakers.has(from)) {
            element.close();
            return;
        }
        text(title, t("speakers.splitTitle", { name: model.nameOf(from) }));
        const all = offered(model);
        attribute(list, "hidden", !picked.input.checked || all.length === 0);
        attribute(older, "hidden", !picked.input.checked || (all.length > 0 && all.length <= OFFERED));
        text(older, all.length === 0 ? t("speakers.splitNone") : t("speakers.splitOlder", { n: OFFERED }));
        if (picked.input.checked) {
            keyed(list, all.slice(0, OFFERED), (s) => s.id, (s) => {
                const parts = { time: h("span", {}), sure: h("span", { class: "digits" }) };
                const input = h("input", { type: "checkbox", value: s.id });
                return Object.assign(h("label", { class: "option plain" }, input, parts.time, parts.sure), { parts });
            }, ({ parts }, s) => {
                text(parts.time, `${clock(s.start, 1)} – ${clock(s.end, 1)}`);
                text(parts.sure, percent(s.confidence));
            });
        }
        // Somebody must stay.
        const n = chosen().length;
        const isPossible = found.input.checked || (n > 0 && n < countOf(model));
        attribute(act, "disabled", !isPossible || !followed.canCorrect);
    }

    const countOf = (model) => [...model.segments.values()].filter((segment) => segment.speaker === from).length;

    return {
        element,
        update,
        words() {
            text(note, t("speakers.splitText"));
            text(found.said, t("speakers.splitFound"));
            text(picked.said, t("speakers.splitPicked"));
            text(act, t("speakers.split"));
            text(cancel, t("speakers.cancel"));
        },
        open(label) {
            from = label;
            form.reset();
            list.replaceChildren();
            list.heldByKey = undefined;
            found.input.checked = true;
            element.showModal();
            update(store.followed);
        },
    };
}
