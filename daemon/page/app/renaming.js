// Renaming where a name stands.

import { fieldInPlace } from "./dom.js";
import { t } from "./texts/index.js";

/** Renames a speaker of the followed session, in a field in the place of a button. */
export function renameInPlace(app, speaker, button) {
    const label = t("speakers.renameLabel", { label: speaker });
    const value = app.store.followed.model.speakers.get(speaker)?.name ?? "";
    fieldInPlace(button, { label, value, maxlength: "100", class: "name-field" }, (name) => {
        app.correct({ type: "rename", speaker, name });
    });
}
