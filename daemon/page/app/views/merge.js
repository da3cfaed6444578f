// Asks who a speaker is the same person as.

import { talk } from "../../client/index.js";
import { h, keyed, text } from "../dom.js";
import { swatch } from "../swatch.js";
import { clock, t } from "../texts/index.js";
import { speakerDialog } from "./speaker-dialog.js";

export function mergeDialog(app) {
    const { settings } = app;
    const choices = h("div", { class: "options", role: "radiogroup", "aria-labelledby": "merge-title" });
    const chosen = () => choices.querySelector("input:checked")?.value;

    function option({ id }) {
        const parts = { band: swatch(), name: h("span", { class: "ellipsis" }), time: h("span", { class: "digits" }) };
        const input = h("input", { type: "radio", name: "into", value: id });
        return Object.assign(h("label", { class: "option" }, input, parts.band, parts.name, parts.time), { parts });
    }

    return speakerDialog(app, "merge-title", {
        content: [choices],
        title: (name) => t("speakers.mergeTitle", { name }),
        note: (name) => t("speakers.mergeText", { name }),
        act: () => t("speakers.mergeDo"),
        show({ model }, from) {
            const others = talk(model).filter((row) => row.id !== from);
            keyed(choices, others, (row) => row.id, option, ({ parts }, row) => {
                parts.band.paint(settings.shade, row.id);
                text(parts.name, row.name ? `${row.name} (${row.id})` : row.id);
                text(parts.time, clock(row.total_s));
            });
            return chosen() !== undefined;
        },
        send(from) {
            const into = chosen();
            if (into !== undefined) app.correct({ type: "merge", from, into });
        },
    });
}
