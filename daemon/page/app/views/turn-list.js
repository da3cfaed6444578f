// A long list of turns as rows, drawn a few milliseconds a frame; further rows come as its end comes near.

import { chooseSpeaker, writeNote } from "../correcting.js";
import { attribute, button, h, icon, keyed, text } from "../dom.js";
import { listSwatch } from "../swatch.js";
import { clock, percent, t } from "../texts/index.js";

/** Number of turns that the list has at first, and that each step adds. */
const STEP = 300;
/** Turns that are drawn at once, and time in a frame for further ones. */
const AT_ONCE = 24;
const FRAME_MS = 5;
/** So near is the end of the list when more turns come. */
const NEAR = "1500px";
/** Size of a swatch in the list. */
const SWATCH = [14, 22];

/** `changed` is called when the list wants to be shown again. */
export function turnList(app, changed) {
    const element = h("ol", { class: "turns-list" });
    const more = button("button", grow);
    /** Rows without a turn: to make one takes longer than to fill it. */
    const spare = [];
    const mark = playedMark(app, element);
    /** Turns that the list may have, and those that it has. */
    let wanted = STEP;
    let ready = 0;
    let matched = [];
    new IntersectionObserver((seen) => {
        if (seen.at(-1).isIntersecting && !more.hidden) grow();
    }, { rootMargin: NEAR }).observe(more);

    function grow() {
        wanted += STEP;
        changed();
    }

    const made = () => spare.pop() ?? row(app);
    const retire = (one) => {
        if (spare.length < STEP) spare.push(one);
    };

    /** Shows turns as far as a frame has time; whether all that the list may have are there. */
    function show(turns, common) {
        matched = turns;
        element.classList.toggle("mute", !common.canPlay);
        const until = performance.now() + FRAME_MS;
        const number = Math.min(wanted, matched.length);
        ready = Math.min(number, Math.max(ready, AT_ONCE));
        const update = (one, turn) => fill(one, turn, common);
        keyed(element, matched.slice(0, ready), (turn) => turn.segment.id, made, update, retire);
        while (ready < number && performance.now() < until) {
            const turn = matched[ready];
            const one = made();
            element.heldByKey.set(turn.segment.id, one);
            element.append(one);
            update(one, turn);
            ready += 1;
        }
        text(more, t("turns.more", { n: Math.min(STEP, matched.length - wanted) }));
        attribute(more, "hidden", matched.length <= wanted);
        if (ready < number) app.redraw();
        return ready === number;
    }

    /** Marks the turn that is played. One that the list does not have yet comes into it. */
    function follow() {
        const id = app.playing.segmentNow()?.id;
        mark(id);
        if (id === undefined || element.heldByKey?.has(id)) return;
        const place = matched.findIndex((turn) => turn.segment.id === id);
        if (place < wanted) return;
        wanted = place + AT_ONCE;
        changed();
    }

    return {
        element,
        more,
        show,
        follow,
        /** Begins again at the top, as another search does. */
        restart() {
            wanted = STEP;
            ready = 0;
        },
    };
}

function row(app) {
    const parts = {
        play: button("icon-button turn-play", () => app.playing.play(item.turn.segment.start, item.turn.segment.end), icon("play")),
        time: h("span", { class: "digits turn-time" }),
        band: listSwatch(...SWATCH),
        name: button("button small ghost turn-name", () => chooseSpeaker(app, item.turn.segment.id, parts.name)),
        said: h("span", { class: "said" }),
        note: h("span", { class: "hint" }),
        write: button("icon-button turn-note", () => writeNote(app, item.turn.segment.id, parts.write), icon("note")),
        sure: h("span", { class: "digits quiet" }),
    };
    const item = h("li", { class: "turn" }, parts.play, parts.time, parts.band, parts.name,
        h("span", { class: "turn-said" }, parts.said, parts.note), parts.write, parts.sure);
    return Object.assign(item, { parts });
}

/** Writes a turn into a row that does not show it yet; `common` is what all rows depend on. */
function fill(item, turn, common) {
    if (item.turn === turn && item.common === common) return;
    Object.assign(item, { turn, common });
    const { parts } = item;
    const { segment, said, note } = turn;
    const { model, canCorrect, shade } = common;
    const name = model.nameOf(segment.speaker);
    const time = clock(segment.start, 1);
    text(parts.time, time);
    attribute(parts.play, "aria-label", t("play.turn", { name, time }));
    parts.band.paint(shade, segment.speaker);
    text(parts.name, name);
    attribute(parts.name, "disabled", !canCorrect || !segment.final);
    attribute(parts.name, "aria-label", t("turns.correct", { name, time }));
    text(parts.said, said);
    text(parts.note, note);
    attribute(parts.write, "disabled", !canCorrect);
    attribute(parts.write, "aria-label", t(note ? "turns.noteChange" : "turns.noteAdd", { name, time }));
    text(parts.sure, percent(segment.confidence));
}

/** Marks the row of a turn by its id, and brings it into sight when it changes. */
function playedMark(app, list) {
    let marked;
    return (id) => {
        const row = id === undefined ? undefined : list.heldByKey?.get(id);
        // A row may have got another turn since.
        if (row === marked && row?.turn.segment.id === id) return;
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
