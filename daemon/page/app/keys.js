// Keyboard shortcuts of the page: listed in a dialog; a user can switch them off.

import { attribute, button, h, icon, text } from "./dom.js";
import { t } from "./texts/index.js";

/** The list in the dialog: keys, and their effect as a key of the texts. */
const LISTED = [
    ["1 – 7", "keys.views"],
    ["F", "keys.full"],
    ["Ctrl Z", "keys.undo"],
    ["Space", "keys.play"],
    ["← →", "keys.step"],
    ["?", "keys.help"],
    ["← →", "keys.pan"],
    ["+ −", "keys.zoom"],
    ["0", "keys.fit"],
    ["Home End", "keys.ends"],
    ["Shift ← →", "keys.walk"],
    ["Enter", "keys.enter"],
];
/** The first ones work anywhere on the page; the others where the timeline has the focus. */
const N_ANYWHERE = 6;

/** The dialog, and the button that opens it. */
export function keysHelp(app) {
    const { settings } = app;
    const title = h("h2", { id: "keys-title" });
    const anywhere = h("h3", { class: "eyebrow" });
    const onTimeline = h("h3", { class: "eyebrow" });
    const rows = LISTED.map(([keys, key]) => {
        const said = h("dd", {});
        return { key, said, element: h("div", {}, h("dt", {}, ...keys.split(" ").map((one) => kbd(one))), said) };
    });
    const list = (some) => h("dl", { class: "keys" }, ...some.map((row) => row.element));
    const single = h("input", { type: "checkbox", on: { change: () => settings.setKeys(single.checked) } });
    const singleName = h("span", {});
    const close = button("button", () => dialog.close());
    const dialog = h("dialog", { "aria-labelledby": "keys-title" }, title,
        anywhere, list(rows.slice(0, N_ANYWHERE)), onTimeline, list(rows.slice(N_ANYWHERE)),
        h("label", { class: "check" }, single, singleName), h("div", { class: "acts" }, close));
    const opener = button("button ghost small keys-open", open);
    document.body.append(dialog);

    function open() {
        single.checked = settings.hasKeys;
        dialog.showModal();
    }

    function words() {
        text(title, t("keys.title"));
        text(anywhere, t("keys.anywhere"));
        text(onTimeline, t("keys.onTimeline"));
        for (const { key, said } of rows) text(said, t(key));
        text(singleName, t("keys.single"));
        text(close, t("timeline.close"));
        opener.replaceChildren(icon("keys"), t("keys.title"));
        attribute(opener, "aria-haspopup", "dialog");
    }

    words();
    return { opener, open, words };
}

function kbd(key) {
    return key === "–" ? " – " : h("kbd", {}, key);
}
