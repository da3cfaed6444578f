// Every turn as a line: searched, filtered by speaker, corrected in place, copied and saved.

import { chooseSpeaker, writeNote } from "../correcting.js";
import { attribute, button, h, icon, keyed, text } from "../dom.js";
import { exportButtons } from "../exports.js";
import { canPlay } from "../playing.js";
import { swatch } from "../swatch.js";
import { clock, percent, t } from "../texts/index.js";

/** Number of turns drawn at first; a button draws more. */
const DRAWN = 300;
const EVERYBODY = "";
/** Size of a swatch in the list, as in the style sheet. */
const SWATCH = [14, 22];

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
    const filter = turnsFilter(() => again());
    const copy = button("button small", () => void toClipboard(app, matched));
    const exports = exportButtons(app, () => store.followed.id, { hasAudio: true });
    const count = h("p", { class: "hint", role: "status" });
    const list = h("ol", { class: "turns-list" });
    const more = button("button", () => again(drawn + DRAWN));
    const element = h("section", { class: "view turns" }, h("div", { class: "view-head" }, title),
        h("div", { class: "turns-tools" }, ...filter.elements, copy, exports.element), count, list, more);
    const markPlayed = playedMark(app, list);
    let drawn = DRAWN;
    /** What the list shows. */
    let shown = {};
    let matched = [];

    function again(n = DRAWN) {
        drawn = n;
        shown = {};
        app.redraw();
    }

    function update() {
        const { followed } = store;
        const { model } = followed;
        const now = {
            model, version: model.version, canCorrect: followed.canCorrect, language: settings.language, shade: settings.shade,
            canPlay: canPlay(followed),
        };
        markPlayed();
        // An open choice or field is not disturbed.
        const isChoosing = list.contains(document.activeElement) && ["SELECT", "INPUT"].includes(document.activeElement.tagName);
        if (isChoosing || Object.keys(now).every((key) => now[key] === shown[key])) return;
        shown = now;
        filter.update(model);
        matched = matching(model, filter.wanted());
        keyed(list, matched.slice(0, drawn), (s) => s.id, (s) => row(app, s), (item, s) => show(item, s, now));
        text(count, t("turns.count", { n: matched.length }));
        text(more, t("turns.more", { n: Math.min(DRAWN, matched.length - drawn) }));
        attribute(more, "hidden", matched.length <= drawn);
        exports.update(store.nameOf(followed.id), now.canPlay);
    }

    function words() {
        text(title, t("nav.turns"));
        filter.words();
        copy.replaceChildren(icon("file"), t("turns.copy"));
        shown = {};
    }

    words();
    return { element, update, words, needsSession: true };
}

/** The search and the choice of a speaker; `changed` is called when either changes. */
function turnsFilter(changed) {
    const search = h("input", { type: "search", id: "turns-search", autocomplete: "off", on: { input: changed } });
    const searchLabel = h("label", { class: "unseen", for: "turns-search" });
    const who = h("select", { id: "turns-speaker", on: { change: changed } });
    const whoLabel = h("label", { class: "unseen", for: "turns-speaker" });
    return {
        elements: [searchLabel, search, whoLabel, who],
        wanted: () => ({ speaker: who.value, wanted: search.value }),
        update(model) {
            const all = [{ id: EVERYBODY }, ...model.speakers.values()];
            keyed(who, all, (s) => s.id, (s) => h("option", { value: s.id }), (option, s) => {
                text(option, s.id === EVERYBODY ? t("turns.everybody") : model.nameOf(s.id));
            });
        },
        words() {
            text(searchLabel, t("turns.search"));
            attribute(search, "placeholder", t("turns.search"));
            text(whoLabel, t("turns.filter"));
        },
    };
}

async function toClipboard(app, segments) {
    try {
        await navigator.clipboard.writeText(asText(app.store.followed.model, segments));
        app.say(t("turns.copied", { n: segments.length }));
    } catch {
        app.say(t("turns.notCopied"));
    }
}

function row(app, { id }) {
    const parts = {
        play: button("icon-button turn-play", play, icon("play")),
        time: h("span", { class: "digits turn-time" }),
        band: swatch("", SWATCH),
        name: button("button small ghost turn-name", () => chooseSpeaker(app, id, parts.name)),
        said: h("span", { class: "said" }),
        note: h("span", { class: "hint" }),
        write: button("icon-button turn-note", () => writeNote(app, id, parts.write), icon("note")),
        sure: h("span", { class: "digits quiet" }),
    };
    function play() {
        const segment = app.store.followed.model.segments.get(id);
        if (segment) app.playing.play(segment.start, segment.end);
    }
    return Object.assign(h("li", { class: "turn" }, parts.play, parts.time, parts.band, parts.name,
        h("span", { class: "turn-said" }, parts.said, parts.note), parts.write, parts.sure), { parts });
}

function show({ parts }, segment, { model, canCorrect, canPlay, shade }) {
    const name = model.nameOf(segment.speaker);
    const time = clock(segment.start, 1);
    text(parts.time, time);
    attribute(parts.play, "hidden", !canPlay);
    attribute(parts.play, "aria-label", t("play.turn", { name, time }));
    parts.band.paint(shade, segment.speaker);
    text(parts.name, name);
    attribute(parts.name, "disabled", !canCorrect || !segment.final);
    attribute(parts.name, "aria-label", t("turns.correct", { name, time }));
    text(parts.said, model.textOf(segment.id));
    const note = noteOf(model, segment.id);
    text(parts.note, note);
    attribute(parts.write, "disabled", !canCorrect);
    attribute(parts.write, "aria-label", t(note ? "turns.noteChange" : "turns.noteAdd", { name, time }));
    text(parts.sure, percent(segment.confidence));
}

/** Marks the turn that is played, and brings it into sight when it changes. */
function playedMark(app, list) {
    let marked;
    return () => {
        const id = app.playing.segmentNow()?.id;
        const row = id === undefined ? undefined : list.heldByKey?.get(id);
        if (row === marked) return;
        if (marked) attribute(marked, "aria-current", undefined);
        marked = row;
        if (!row) return;
        attribute(row, "aria-current", "true");
        // A person who has the focus in the list stays where they are.
        if (!list.contains(document.activeElement) || document.activeElement.classList.contains("turn-play")) {
            row.scrollIntoView({ block: "nearest", behavior: app.settings.isStill ? "auto" : "smooth" });
        }
    };
}
