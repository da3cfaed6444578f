// Turns, shares of talk, and who speaks at a moment.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SessionModel, speakingAt, talk, turns } from "../../../daemon/page/client/index.js";
import { ServerState } from "./server-state.js";

function model(rows) {
    const labels = [...new Set(rows.map((row) => row[2]))];
    const session = new SessionModel("s");
    session.apply({
        type: "snapshot", session: "s", seq: 1, at: 100, live: true, source: "stream", gaps: [],
        speakers: labels.map((id) => ({ id, first_s: 0 })),
        segments: rows.map(([start, end, speaker, more], i) => (
            { id: i + 1, start, end, speaker, confidence: 0.9, final: true, ...more }
        )),
    });
    return session;
}

test("a turn lasts through short pauses and ends with another voice", () => {
    const { segments } = model([[0, 2, "S1"], [2.9, 4, "S1"], [4, 4.5, "S2"], [4.5, 6, "S1"], [7.1, 8, "S1"], [9, 9, "S1"]]);
    assert.deepEqual(turns(segments.values()).map((t) => [t.speaker, t.start, t.end]), [
        ["S1", 0, 4], ["S2", 4, 4.5], ["S1", 4.5, 6], ["S1", 7.1, 8],
    ]);
});

test("shares sum to one and turns hold all the talk", () => {
    for (let seed = 1; seed <= 30; seed += 1) {
        const server = new ServerState(seed);
        const session = new SessionModel("s");
        server.run(200, (event) => session.apply(event));
        const rows = talk(session);
        assert.equal(rows.length, session.speakers.size);
        const sum = rows.reduce((all, row) => all + row.share, 0);
        assert.ok(Math.abs(sum - 1) < 1e-9, `seed ${seed}: ${sum}`);
        const all = turns(session.segments.values());
        for (const row of rows) {
            const own = all.filter((turn) => turn.speaker === row.id);
            assert.equal(row.turns, own.length);
            assert.equal(row.longest_s, Math.max(0, ...own.map((turn) => turn.end - turn.start)));
        }
    }
});

test("a session without speech has no shares", () => {
    assert.deepEqual(talk(new SessionModel("s")), []);
});

test("who speaks now: one, none, two at once, and a change", () => {
    const session = model([[0, 5, "S1"], [4, 8, "S2", { overlap: true }], [8, 9, "S1"]]);
    const at = (position) => {
        const { segments, overlap } = speakingAt(session, position);
        return [segments.map((s) => s.speaker), overlap];
    };
    assert.deepEqual(at(2), [["S1"], false]);
    assert.deepEqual(at(4.5), [["S1", "S2"], true]);
    assert.deepEqual(at(6), [["S2"], false], "the other voice has a segment of its own, which is over");
    assert.deepEqual(at(8.2), [["S1"], false], "a successor takes the place of who has just ended");
    assert.deepEqual(at(9.5), [["S1"], false], "held for a moment");
    assert.deepEqual(at(20), [[], false]);
    const both = model([[0, 5, "S1"], [3, 5, "S2"]]);
    const now = speakingAt(both, 4.9);
    assert.deepEqual([now.segments.map((s) => s.speaker), now.overlap], [["S1", "S2"], true]);
    const alone = model([[0, 5, "S1", { overlap: true }], [6, 7, "S2"]]);
    assert.equal(speakingAt(alone, 3).overlap, true, "a mark alone is of the whole segment");
    assert.equal(speakingAt(alone, 6.5).overlap, false);
});

test("who is interrupted and goes on speaks all the while", () => {
    const session = model([[0, 20, "S1", { overlap: true }], [8, 9, "S2", { overlap: true }]]);
    const at = (position) => speakingAt(session, position).segments.map((s) => s.speaker);
    assert.deepEqual([at(5), at(8.5), at(9.2), at(12)], [["S1"], ["S1", "S2"], ["S1", "S2"], ["S1"]]);
    assert.deepEqual(turns(session.segments.values()).map((t) => [t.speaker, t.end - t.start]), [["S1", 20], ["S2", 1]]);
});
