// Every turn as a line: searched, filtered by speaker, corrected in place, copied and saved.

import { attribute, fieldInPlace, h, icon, keyed, text } from "../dom.js";
import { AUDIO, FORMATS, save } from "../exports.js";
import { canPlay } from "../playing.js";
import { renameInPlace } from "../renaming.js";
import { swatch } from "../swatch.js";
import { clock, percent, t } from "../texts/index.js";

/** Number of turns drawn at first; a button draws more. */
const DRAWN = 300;
const EVERYBODY = "";
const SOMEBODY_NEW = "new";
/** Size of a swatch in the list, as in the style sheet. */
const SWATCH = [14, 22];
const RENAME = "rename";

/** Segments in the order of time that are of `speaker`, if one is given, and whose name, label or words hold `wanted`. */
export function matching(model, { speaker, wanted }) {
    const needle = wanted.trim().toLocaleLowerCase();
    const fits = (segment) => {
        if (speaker && segment.speaker !== speaker) return false;
        if (needle === "") return true;
        const said = [model.nameOf(segment.speaker), segment.speaker, model.textOf(segment.id), noteOf(model, segment.id)];
        return said.some((one) => one.toLocaleLowerCase().includes(needle));
    };
    return [...model.segments.values()].filter(fits).sort((a, b) => a.start - b.start || a.id - b.id);
}

/** The notes on a segment, one behind the other. */
export function noteOf(model, id) {
    return [...model.notes.values()].filter((note) => note.segment === id).map((note) => note.text).join(" · ");
}

/** Turns as people paste them: `0:12.3  Ann: hello there`. */
export function asText(model, segments) {
    const line = (s) => `${clock(s.start, 1)}  ${model.nameOf(s.speaker)}: ${model.textOf(s.id)}`.trimEnd();
    return segments.map((segment) => `${line(segment)}\n`).join("");
}

export function turnsView(app) {
    const { store, settings } = app;
    const title = h("h1", {});
    const search = h("input", { type: "search", id: "turns-search", autocomplete: "off", on: { input: () => again() } });
    const searchLabel = h("label", { class: "unseen", for: "turns-search" });
    const who = h("select", { id: "turns-speaker", on: { change: () => again() } });
    const whoLabel = h("label", { class: "unseen", for: "turns-speaker" });
    const copy = h("button", { type: "button", class: "button small", on: { click: () => void toClipboard() } });
    const exportName = h("span", { class: "eyebrow" });
    const exports = FORMATS.map((format) => h("button", {
        type: "button", class: "button small", on: { click: () => void save(app, store.followed.id, format) },
    }, format.toUpperCase()));
    const audio = h("button", {
        type: "button", class: "button small", on: { click: () => void save(app, store.followed.id, AUDIO) },
    }, AUDIO.toUpperCase());
    const count = h("p", { class: "hint", role: "status" });
    const list = h("ol", { class: "turns-list" });
    const more = h("button", { type: "button", class: "button", on: { click: () => again(drawn + DRAWN) } });
    const element = h("section", { class: "view turns" }, h("div", { class: "view-head" }, title),
        h("div", { class: "turns-tools" }, searchLabel, search, whoLabel, who, copy,
            h("span", { class: "exports" }, exportName, ...exports, audio)),
        count, list, more);
    let drawn = DRAWN;
    let shown = {};
    let matched = [];
    /** The row of the turn that is heard now. */
    let heard;

    function again(n = DRAWN) {
        drawn = n;
        shown = {};
        app.redraw();
    }

    async function toClipboard() {
        try {
            await navigator.clipboard.writeText(asText(store.followed.model, matched));
            app.say(t("turns.copied", { n: matched.length }));
        } catch {
            app.say(t("turns.notCopied"));
        }
    }

    function row({ id }) {
        const parts = {
            play: h("button", { type: "button", class: "icon-button turn-play" }, icon("play")),
            time: h("span", { class: "digits turn-time" }),
            band: swatch("", SWATCH),
            name: h("button", { type: "button", class: "button small ghost turn-name" }),
            said: h("span", { class: "said" }),
            note: h("span", { class: "hint" }),
            write: h("button", { type: "button", class: "icon-button turn-note" }, icon("note")),
            sure: h("span", { class: "digits quiet" }),
        };
        parts.write.addEventListener("click", () => writeNote(id, parts.write));
        parts.name.addEventListener("click", () => choose(id, parts.name));
        parts.play.addEventListener("click", () => {
            const segment = store.followed.model.segments.get(id);
            if (segment) app.playing.play(segment.start, segment.end);
        });
        return Object.assign(h("li", { class: "turn" }, parts.play, parts.time, parts.band, parts.name,
            h("span", { class: "turn-said" }, parts.said, parts.note), parts.write, parts.sure), { parts });
    }

    /** Puts the choice of a speaker in the place of a name. */
    function choose(id, button) {
        const { model } = store.followed;
        const segment = model.segments.get(id);
        if (!segment) return;
        const select = h("select", { "aria-label": t("turns.giveTo", { time: clock(segment.start, 1) }) },
            ...[...model.speakers.keys()].map((label) => h("option", { value: label }, model.nameOf(label))),
            h("option", { value: SOMEBODY_NEW }, t("timeline.somebodyNew")),
            h("option", { value: RENAME }, t("turns.rename", { name: model.nameOf(segment.speaker) })));
        select.value = segment.speaker;
        let isDone = false;
        const done = () => {
            // What is taken out of the page loses the focus, which asks for this once more.
            if (isDone) return;
            isDone = true;
            select.replaceWith(button);
            button.focus();
        };
        select.addEventListener("change", () => {
            const speaker = select.value;
            done();
            if (speaker === RENAME) {
                renameInPlace(app, segment.speaker, button);
                return;
            }
            app.correct(speaker === SOMEBODY_NEW
                ? { type: "split", speaker: segment.speaker, segments: [id] }
                : { type: "reassign", segment: id, speaker });
        });
        select.addEventListener("blur", done);
        select.addEventListener("keydown", (event) => {
            if (event.key === "Escape") done();
        });
        button.replaceWith(select);
        select.focus();
    }

    /** Puts a field in the place of a button: a new note on a turn, or another text for the one that it has. */
    function writeNote(id, button) {
        const { model } = store.followed;
        const segment = model.segments.get(id);
        if (!segment) return;
        const held = [...model.notes.values()].find((note) => note.segment === id);
        const label = t("turns.noteOn", { time: clock(segment.start, 1) });
        fieldInPlace(button, { label, value: held?.text ?? "", maxlength: "2000", class: "note-field" }, (words) => {
            app.correct(held ? { type: "note", id: held.id, text: words } : { type: "note", segment: id, text: words });
        });
    }

    function show({ parts }, segment) {
        const { model, canCorrect } = store.followed;
        const name = model.nameOf(segment.speaker);
        text(parts.time, clock(segment.start, 1));
        attribute(parts.play, "hidden", !shown.canPlay);
        attribute(parts.play, "aria-label", t("play.turn", { name, time: clock(segment.start, 1) }));
        parts.band.paint(settings.shade, segment.speaker);
        text(parts.name, name);
        attribute(parts.name, "disabled", !canCorrect || !segment.final);
        attribute(parts.name, "aria-label", t("turns.correct", { name, time: clock(segment.start, 1) }));
        text(parts.said, model.textOf(segment.id));
        const note = noteOf(model, segment.id);
        text(parts.note, note);
        attribute(parts.write, "disabled", !canCorrect);
        attribute(parts.write, "aria-label", t(note ? "turns.noteChange" : "turns.noteAdd", { name, time: clock(segment.start, 1) }));
        text(parts.sure, percent(segment.confidence));
    }

    /** Marks the turn that is heard now, and brings it into sight when it changes. */
    function follow() {
        const now = app.playing.segmentNow()?.id;
        const row = now === undefined ? undefined : list.heldByKey?.get(now);
        if (row === heard) return;
        if (heard) attribute(heard, "aria-current", undefined);
        heard = row;
        if (!row) return;
        attribute(row, "aria-current", "true");
        // A person who has the focus in the list stays where they are.
        if (!list.contains(document.activeElement) || document.activeElement.classList.contains("turn-play")) {
            row.scrollIntoView({ block: "nearest", behavior: settings.isStill ? "auto" : "smooth" });
        }
    }

    function showSpeakers(model) {
        const all = [{ id: EVERYBODY }, ...model.speakers.values()];
        keyed(who, all, (s) => s.id, (s) => h("option", { value: s.id }), (option, s) => {
            text(option, s.id === EVERYBODY ? t("turns.everybody") : model.nameOf(s.id));
        });
    }

    function update() {
        const { followed } = store;
        const { model } = followed;
        const now = {
            model, version: model.version, canCorrect: followed.canCorrect, language: settings.language, shade: settings.shade,
            canPlay: canPlay(followed),
        };
        follow();
        // An open choice or field is not disturbed.
        const isChoosing = list.contains(document.activeElement) && ["SELECT", "INPUT"].includes(document.activeElement.tagName);
        if (isChoosing || Object.keys(now).every((key) => now[key] === shown[key])) return;
        shown = now;
        showSpeakers(model);
        matched = matching(model, { speaker: who.value, wanted: search.value });
        keyed(list, matched.slice(0, drawn), (s) => s.id, row, show);
        text(count, t("turns.count", { n: matched.length }));
        text(more, t("turns.more", { n: Math.min(DRAWN, matched.length - drawn) }));
        attribute(more, "hidden", matched.length <= drawn);
        attribute(audio, "hidden", !now.canPlay);
        attribute(audio, "aria-label", t("sessions.exportAs", { session: store.nameOf(followed.id), format: AUDIO.toUpperCase() }));
        exports.forEach((button, idx) => {
            const format = FORMATS[idx].toUpperCase();
            attribute(button, "aria-label", t("sessions.exportAs", { session: store.nameOf(followed.id), format }));
        });
    }

    function words() {
        text(title, t("nav.turns"));
        for (const [label, field, key] of [[searchLabel, search, "turns.search"], [whoLabel, undefined, "turns.filter"]]) {
            text(label, t(key));
            if (field) attribute(field, "placeholder", t(key));
        }
        copy.replaceChildren(icon("file"), t("turns.copy"));
        text(exportName, t("sessions.export"));
        shown = {};
    }

    words();
    return { element, update, words, needsSession: true };
}
