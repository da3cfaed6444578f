// A dialog that asks something about one speaker of the session that is followed.

import { attribute, button, h, text } from "../dom.js";
import { t } from "../texts/index.js";

/**
 * Closes by itself when the speaker is gone. `id` is that of its title; `question`:
 *
 * - `content`: elements between the text and the buttons;
 * - `title(name)`, `note(name)`, `act()`: the texts;
 * - `reset()`: before it opens;
 * - `show(followed, speaker)`: shows what can be chosen; whether what is chosen can be done;
 * - `send(speaker)`: does it.
 */
export function speakerDialog(app, id, question) {
    const { store } = app;
    const title = h("h2", { id });
    const note = h("p", { class: "hint" });
    const act = h("button", { type: "submit", class: "button primary" });
    const cancel = button("button", () => element.close());
    const form = h("form", {}, title, note, ...question.content, h("div", { class: "acts" }, act, cancel));
    const element = h("dialog", { "aria-labelledby": id }, form);
    let speaker;

    form.addEventListener("change", () => update(store.followed));
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        question.send(speaker);
        element.close();
    });

    function update(followed) {
        if (!element.open) return;
        const { model } = followed;
        if (!model.speakers.has(speaker)) {
            element.close();
            return;
        }
        const name = model.nameOf(speaker);
        text(title, question.title(name));
        text(note, question.note(name));
        attribute(act, "disabled", !question.show(followed, speaker) || !followed.canCorrect);
    }

    return {
        element,
        update,
        words() {
            text(act, question.act());
            text(cancel, t("speakers.cancel"));
        },
        open(label) {
            speaker = label;
            form.reset();
            question.reset?.();
            element.showModal();
            update(store.followed);
        },
    };
}
