// What is listened to: parts in pieces, and the moments that answer "who is this?".

import assert from "node:assert/strict";
import { test } from "node:test";

import { PIECE_S, bestMoments, piecesOf } from "../../../daemon/page/app/audio/player.js";

const model = (segments) => ({
    segments: new Map(segments.map((segment, idx) => [idx + 1, { id: idx + 1, confidence: 0.9, final: true, ...segment }])),
});

test("long parts are fetched in pieces that join without a hole", () => {
    assert.deepEqual(piecesOf([{ start: 3, end: 7.5 }]), [{ start: 3, end: 7.5 }]);
    const pieces = piecesOf([{ start: 10, end: 10 + 2.5 * PIECE_S }, { start: 900, end: 901 }]);
    assert.equal(pieces.length, 4);
    assert.deepEqual([pieces[0].start, pieces[2].end], [10, 10 + 2.5 * PIECE_S]);
    for (const [one, next] of [[pieces[0], pieces[1]], [pieces[1], pieces[2]]]) assert.equal(one.end, next.start);
    assert.deepEqual(pieces[3], { start: 900, end: 901 });
    assert.equal(piecesOf([{ start: 5, end: 5 }]).length, 1);
});

test("the best moments are long, clean, sure and this speaker's, in the order of time", () => {
    const all = model([
        { speaker: "S1", start: 0, end: 30, overlap: true },
        { speaker: "S1", start: 40, end: 43 },
        { speaker: "S1", start: 50, end: 60 },
        { speaker: "S1", start: 70, end: 76, confidence: 0.3 },
        { speaker: "S2", start: 80, end: 99 },
        { speaker: "S1", start: 100, end: 107 },
        { speaker: "S1", start: 110, end: 125, final: false },
    ]);
    assert.deepEqual(bestMoments(all, "S1"), [{ start: 40, end: 43 }, { start: 50, end: 58 }, { start: 100, end: 107 }]);
    assert.deepEqual(bestMoments(all, "S9"), []);
    // A speaker with nothing better is played all the same.
    assert.deepEqual(bestMoments(model([{ speaker: "S1", start: 1, end: 1.5, final: false }]), "S1"), [{ start: 1, end: 1.5 }]);
});
