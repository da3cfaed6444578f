// Names: changed in a field where they stand, or in a form that is opened.

import { attribute, button, fieldInPlace, h, text } from "./dom.js";
import { t } from "./texts/index.js";

/** Renames a speaker of the followed session, in a field in the place of a button. */
export function renameInPlace(app, speaker, button) {
    const label = t("speakers.renameLabel", { label: speaker });
    const value = app.store.followed.model.speakers.get(speaker)?.name ?? "";
    fieldInPlace(button, { label, value, maxlength: "100", class: "name-field" }, (name) => {
        app.correct({ type: "rename", speaker, name });
    });
}

/**
 * A form for a name, closed at first; `attributes` are those of its field.
 *
 * @param {(name: string) => void} save gets the name, without white space around it
 * @param {(isOpen: boolean) => void} toggled shows or hides what the form replaces, and gives it the focus back
 */
export function nameForm(attributes, save, toggled) {
    const field = h("input", { type: "text", autocomplete: "off", ...attributes });
    const act = h("button", { type: "submit", class: "button primary small" });
    const cancel = button("button small", () => toggle(false));
    const element = h("form", { class: "rename", hidden: true }, field, act, cancel);

    function toggle(isOpen) {
        attribute(element, "hidden", !isOpen);
        toggled(isOpen);
    }

    field.addEventListener("keydown", (event) => {
        if (event.key === "Escape") toggle(false);
    });
    element.addEventListener("submit", (event) => {
        event.preventDefault();
        toggle(false);
        save(field.value.trim());
    });
    return {
        element,
        open(value) {
            field.value = value;
            toggle(true);
            field.focus();
            field.select();
        },
        /** `label` is what screen readers call the field. */
        update(label) {
            attribute(field, "aria-label", label);
            text(act, t("speakers.save"));
            text(cancel, t("speakers.cancel"));
        },
    };
}
