// Asks who a speaker is the same person as.

import { talk } from "../../client/index.js";
import { attribute, h, keyed, text } from "../dom.js";
import { swatch } from "../swatch.js";
import { clock, t } from "../texts/index.js";

export function mergeDialog(app) {
    const { store, settings } = app;
    const title = h("h2", { id: "merge-title" });
    const note = h("p", { class: "hint" });
    const choices = h("div", { class: "options", role: "radiogroup", "aria-labelledby": "merge-title" });
    const act = h("button", { type: "submit", class: "button primary", disabled: true });
    const cancel = h("button", { type: "button", class: "button", on: { click: () => element.close() } });
    const form = h("form", {}, title, note, choices, h("div", { class: "acts" }, act, cancel));
    const element = h("dialog", { "aria-labelledby": "merge-title" }, form);
    let from;

    form.addEventListener("change", () => attribute(act, "disabled", false));
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        const into = new FormData(form).get("into");
        if (into) app.correct({ type: "merge", from, into });
        element.close();
    });

    function update(followed) {
        if (!element.open) return;
        const { model } = followed;
        if (!model.speakers.has(from)) {
            element.close();
            return;
        }
        const name = model.nameOf(from);
        text(title, t("speakers.mergeTitle", { name }));
        text(note, t("speakers.mergeText", { name }));
        const others = talk(model).filter((row) => row.id !== from);
        keyed(choices, others, (row) => row.id, (row) => {
            const parts = { band: swatch(), name: h("span", { class: "ellipsis" }), time: h("span", { class: "digits" }) };
            const input = h("input", { type: "radio", name: "into", value: row.id });
            return Object.assign(h("label", { class: "option" }, input, parts.band, parts.name, parts.time), { parts });
        }, ({ parts }, row) => {
            parts.band.paint(settings.shade, row.id);
            text(parts.name, row.name ? `${row.name} (${row.id})` : row.id);
            text(parts.time, clock(row.total_s));
        });
    }

    return {
        element,
        update,
        words() {
            text(act, t("speakers.mergeDo"));
            text(cancel, t("speakers.cancel"));
        },
        open(label) {
            from = label;
            form.reset();
            attribute(act, "disabled", true);
            element.showModal();
            update(store.followed);
        },
    };
}
