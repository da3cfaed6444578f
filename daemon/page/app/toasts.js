// Sentences that are shown for some seconds, also to screen readers.

import { button, h, icon } from "./dom.js";
import { t } from "./texts/index.js";

const TOAST_MS = 7000;
const MOST = 3;

export function toaster() {
    const element = h("div", { class: "toasts", role: "status" });
    return {
        element,
        /** `action` is a button: its `word`, its `act`, and for how many `ms` it is offered. */
        show(sentence, action) {
            const remove = () => toast.remove();
            const close = button("icon-button", remove, icon("close"));
            close.setAttribute("aria-label", t("timeline.close"));
            const act = action && button("button small", () => {
                remove();
                action.act();
            }, action.word);
            const toast = h("div", { class: "toast" }, h("span", {}, sentence), act, close);
            setTimeout(remove, action?.ms ?? TOAST_MS);
            element.append(toast);
            while (element.children.length > MOST) element.firstChild.remove();
        },
    };
}
