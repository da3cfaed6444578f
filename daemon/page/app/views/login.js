// Asks for a token when the server wants one.

import { attribute, h, text } from "../dom.js";
import { t } from "../texts/index.js";

export function loginView(app) {
    const { store } = app;
    const title = h("h2", { id: "login-title" });
    const note = h("p", { class: "quiet" });
    const wrong = h("p", { class: "fault", role: "alert", hidden: true });
    const name = h("label", { for: "token" });
    const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
    const keep = h("input", { type: "checkbox" });
    const keepName = h("span", {});
    const enter = h("button", { type: "submit", class: "button primary" });
    // Managers of passwords file a secret under a name.
    const owner = h("input", { type: "text", autocomplete: "username", value: "diarized", hidden: true });
    const form = h("form", {}, title, note, wrong, owner, name, field, h("label", { class: "check" }, keep, keepName), enter);
    const element = h("dialog", { class: "login", "aria-labelledby": "login-title" }, form);
    document.body.append(element);

    // Without a token there is nothing to go back to.
    element.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        void store.useToken(field.value.trim(), keep.checked);
        field.value = "";
    });

    function update() {
        if (store.wantsToken && !element.open) {
            element.showModal();
            field.focus();
        } else if (!store.wantsToken && element.open) {
            element.close();
        }
        attribute(wrong, "hidden", store.refusal === undefined);
        text(wrong, t(store.refusal?.status === 403 ? "login.scope" : "login.wrong"));
    }

    function words() {
        text(title, t("login.title"));
        text(note, t("login.text"));
        text(name, t("login.token"));
        text(keepName, t("login.remember"));
        text(enter, t("login.enter"));
    }

    words();
    return { update, words };
}
