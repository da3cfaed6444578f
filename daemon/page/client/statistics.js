// Statistics of a session's labels: turns, shares of talk, and the speakers at a moment.

import { numberOf } from "./session.js";

/** A pause that a turn may hold, in seconds; the server's exports use the same. */
export const MAX_PAUSE_S = 1;

/** How long a speaker counts as speaking after the last label, in seconds, so that a display does not flicker. */
export const HOLD_S = 0.7;

/** How far a segment that still grows lies behind its speech, in seconds: the server waits before it labels. */
const LABEL_LAG_S = 0.6;

/** Segments with length, in the order of their start. */
export function ordered(segments) {
    return [...segments]
        .filter((s) => s.end > s.start)
        .sort((a, b) => a.start - b.start || a.end - b.end || a.id - b.id);
}

/**
 * Turns: segments of one speaker with pauses of at most `maxPause` seconds and nobody else between them.
 */
export function turns(segments, maxPause = MAX_PAUSE_S) {
    const all = [];
    for (const { speaker, start, end } of ordered(segments)) {
        const last = all.at(-1);
        if (last && last.speaker === speaker && start <= last.end + maxPause) {
            last.end = Math.max(last.end, end);
            last.speech_s += end - start;
        } else {
            all.push({ speaker, start, end, speech_s: end - start });
        }
    }
    return all;
}

/**
 * One row a speaker, in the order of the labels: seconds of talk, share of all talk (0 to 1), turns, longest turn.
 */
export function talk(model) {
    const rows = new Map();
    for (const speaker of model.speakers.values()) {
        rows.set(speaker.id, { ...speaker, total_s: 0, share: 0, turns: 0, longest_s: 0, last_s: speaker.first_s });
    }
    let all = 0;
    for (const turn of turns(model.segments.values())) {
        const row = rows.get(turn.speaker);
        if (!row) continue;
        row.total_s += turn.speech_s;
        row.turns += 1;
        row.longest_s = Math.max(row.longest_s, turn.end - turn.start);
        row.last_s = Math.max(row.last_s, turn.end);
        all += turn.speech_s;
    }
    for (const row of rows.values()) row.share = all > 0 ? row.total_s / all : 0;
    return [...rows.values()].sort((a, b) => numberOf(a.id) - numberOf(b.id));
}

/** Whether another speaker has a segment inside this one. */
function isShared(model, segment) {
    for (const other of model.segments.values()) {
        if (other.speaker !== segment.speaker && other.start < segment.end && other.end > segment.start) return true;
    }
    return false;
}

/**
 * Who speaks at `position` seconds: the newest segment of each speaker that reaches it, who began first, first.
 * `overlap`: more than one voice is believed to speak. A mark for overlap is of a whole segment; where the
 * other voice has a segment of its own, that one says when.
 */
export function speakingAt(model, position, hold = HOLD_S) {
    const bySpeaker = new Map();
    for (const segment of model.segments.values()) {
        const lag = segment.final ? 0 : LABEL_LAG_S;
        if (segment.start > position || segment.end < position - hold - lag) continue;
        const held = bySpeaker.get(segment.speaker);
        if (!held || segment.end > held.end) bySpeaker.set(segment.speaker, segment);
    }
    let segments = [...bySpeaker.values()];
    // Within the hold, a successor takes the place of who has just ended.
    segments = segments.filter((s) => !segments.some((other) => other.start >= s.end));
    segments.sort((a, b) => a.start - b.start || a.id - b.id);
    const overlap = segments.length > 1 || segments.some((s) => s.overlap === true && !isShared(model, s));
    return { segments, overlap };
}
