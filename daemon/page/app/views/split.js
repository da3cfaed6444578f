// Says that a speaker is two people: the server finds the second one, or the person picks the segments.

import { attribute, clearKeyed, h, keyed, text } from "../dom.js";
import { clock, percent, t } from "../texts/index.js";
import { speakerDialog } from "./speaker-dialog.js";

/** Number of segments offered, newest first; older ones are on the timeline. */
const OFFERED = 200;

export function splitDialog(app) {
    const [found, picked] = ["found", "picked"].map((how) => {
        const input = h("input", { type: "radio", name: "how", value: how });
        const said = h("span", {});
        return { input, said, element: h("label", { class: "option plain" }, input, said) };
    });
    const picks = segmentPicks("split-title");
    const dialog = speakerDialog(app, "split-title", {
        content: [
            h("div", { class: "options", role: "radiogroup", "aria-labelledby": "split-title" }, found.element, picked.element),
            ...picks.elements,
        ],
        title: (name) => t("speakers.splitTitle", { name }),
        note: () => t("speakers.splitText"),
        act: () => t("speakers.split"),
        reset() {
            picks.clear();
            found.input.checked = true;
        },
        show({ model }, from) {
            const all = [...model.segments.values()].filter((segment) => segment.speaker === from);
            picks.show(all, picked.input.checked);
            // Somebody must stay.
            const n = picks.chosen().length;
            return found.input.checked || (n > 0 && n < all.length);
        },
        send(from) {
            const segments = picked.input.checked ? picks.chosen() : [];
            app.correct({ type: "split", speaker: from, ...(segments.length > 0 ? { segments } : {}) });
        },
    });
    return {
        ...dialog,
        words() {
            dialog.words();
            text(found.said, t("speakers.splitFound"));
            text(picked.said, t("speakers.splitPicked"));
        },
    };
}

/** Segments to pick from, where the element `titleId` says what for. */
function segmentPicks(titleId) {
    const list = h("div", { class: "options picks", role: "group", "aria-labelledby": titleId });
    const older = h("p", { class: "hint" });

    function option({ id }) {
        const parts = { time: h("span", {}), sure: h("span", { class: "digits" }) };
        const input = h("input", { type: "checkbox", value: id });
        return Object.assign(h("label", { class: "option plain" }, input, parts.time, parts.sure), { parts });
    }

    return {
        elements: [list, older],
        clear: () => clearKeyed(list),
        chosen: () => [...list.querySelectorAll("input:checked")].map((input) => Number(input.value)),
        /** Offers the final ones of `segments`, if it `isOn`. */
        show(segments, isOn) {
            const all = segments.filter((segment) => segment.final).sort((a, b) => b.start - a.start);
            attribute(list, "hidden", !isOn || all.length === 0);
            attribute(older, "hidden", !isOn || (all.length > 0 && all.length <= OFFERED));
            text(older, all.length === 0 ? t("speakers.splitNone") : t("speakers.splitOlder", { n: OFFERED }));
            if (!isOn) return;
            keyed(list, all.slice(0, OFFERED), (s) => s.id, option, ({ parts }, s) => {
                text(parts.time, `${clock(s.start, 1)} – ${clock(s.end, 1)}`);
                text(parts.sure, percent(s.confidence));
            });
        },
    };
}
