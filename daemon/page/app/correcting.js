// Corrections of one turn, in a field in the place of the button that asks for them.

import { fieldInPlace, h, inPlaceOf } from "./dom.js";
import { renameInPlace } from "./renaming.js";
import { clock, t } from "./texts/index.js";

const SOMEBODY_NEW = "new";
const RENAME = "rename";

/** Puts the choice of a segment's speaker in the place of a button. */
export function chooseSpeaker(app, id, button) {
    const { model } = app.store.followed;
    const segment = model.segments.get(id);
    if (!segment) return;
    const select = h("select", { "aria-label": t("turns.giveTo", { time: clock(segment.start, 1) }) },
        ...[...model.speakers.keys()].map((label) => h("option", { value: label }, model.nameOf(label))),
        h("option", { value: SOMEBODY_NEW }, t("timeline.somebodyNew")),
        h("option", { value: RENAME }, t("turns.rename", { name: model.nameOf(segment.speaker) })));
    select.value = segment.speaker;
    const leave = inPlaceOf(button, select);
    select.addEventListener("change", () => {
        leave();
        const speaker = select.value;
        if (speaker === RENAME) renameInPlace(app, segment.speaker, button);
        else if (speaker === SOMEBODY_NEW) app.correct({ type: "split", speaker: segment.speaker, segments: [id] });
        else app.correct({ type: "reassign", segment: id, speaker });
    });
    select.addEventListener("blur", leave);
    select.addEventListener("keydown", (event) => {
        if (event.key === "Escape") leave();
    });
}

/** Puts a field in the place of a button: a new note on a segment, or another text for the one that it has. */
export function writeNote(app, id, button) {
    const { model } = app.store.followed;
    const segment = model.segments.get(id);
    if (!segment) return;
    const held = [...model.notes.values()].find((note) => note.segment === id);
    const label = t("turns.noteOn", { time: clock(segment.start, 1) });
    fieldInPlace(button, { label, value: held?.text ?? "", maxlength: "2000", class: "note-field" }, (words) => {
        app.correct(held ? { type: "note", id: held.id, text: words } : { type: "note", segment: id, text: words });
    });
}
