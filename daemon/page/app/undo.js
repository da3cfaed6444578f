// Undo and redo of corrections, in reach while there is something to take back.

import { attribute, button, h, icon, text } from "./dom.js";
import { known, t } from "./texts/index.js";

/** A bar with the two buttons. Undo takes back the newest correction of any user. */
export function undoBar(app) {
    const { store } = app;
    const [undo, redo] = ["undo", "redo"].map((type) => {
        const said = h("span", {});
        return Object.assign(button("button small", () => send(type), icon(type), said), { said });
    });
    const element = h("div", { class: "undo-bar", role: "group", hidden: true }, undo, redo);

    function send(type) {
        const next = store.followed?.model[type];
        // What is shown is what is taken back: the server refuses if somebody was faster.
        if (next) app.correct({ type, correction: next.id });
    }

    function update() {
        const { followed } = store;
        const isOff = !followed?.canCorrect;
        for (const [type, one] of [["undo", undo], ["redo", redo]]) {
            const next = isOff ? undefined : followed.model[type];
            attribute(one, "hidden", !next);
            if (next) text(one.said, t(`undo.${type}`, { what: known("act", next.kind) }));
        }
        attribute(element, "hidden", isOff || (!followed.model.undo && !followed.model.redo));
    }

    return {
        element,
        update,
        words: () => attribute(element, "aria-label", t("undo.label")),
        /** Takes back or makes again by key. */
        send,
    };
}
