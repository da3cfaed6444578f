// A question before what cannot be undone.

import { button, h, text } from "./dom.js";
import { t } from "./texts/index.js";

/** A dialog with two answers; `ask` resolves with whether the answer was yes. `id` names its question. */
export function confirmation(id) {
    const question = h("p", { id });
    const yes = button("button danger", () => element.close("yes"));
    const no = button("button", () => element.close("no"));
    const element = h("dialog", { "aria-labelledby": id }, question, h("div", { class: "acts" }, yes, no));
    return {
        element,
        words: () => text(no, t("sessions.keep")),
        ask(sentence, word) {
            text(question, sentence);
            text(yes, word);
            element.returnValue = "";
            element.showModal();
            no.focus();
            return new Promise((resolve) => {
                element.addEventListener("close", () => resolve(element.returnValue === "yes"), { once: true });
            });
        },
    };
}
