// The session model: a snapshot and the events after it give what the server holds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { OutOfStep, SessionModel } from "../../../daemon/page/client/index.js";
import { ServerState } from "./server-state.js";

const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);

test("every event from the first one gives the server's state", () => {
    for (const seed of SEEDS) {
        const server = new ServerState(seed);
        const model = new SessionModel("s");
        server.run(300, (event) => assert.equal(model.apply(event), true));
        assert.deepEqual(model.toSnapshot(), server.snapshot(), `seed ${seed}`);
        const end = server.end();
        model.apply(end);
        server.lastAt = end.at;
        assert.deepEqual(model.toSnapshot(), server.snapshot(), `seed ${seed}, ended`);
    }
});

test("a snapshot at any moment and every later event gives the server's state", () => {
    for (const seed of SEEDS) {
        const server = new ServerState(seed);
        const joiners = [];
        server.run(200, (event) => {
            joiners.forEach((joiner) => joiner.apply(event));
            if (event.seq % 17 === 0) {
                const joiner = new SessionModel("s");
                joiner.apply(server.snapshot());
                joiners.push(joiner);
            }
        });
        assert.ok(joiners.length > 3);
        for (const joiner of joiners) assert.deepEqual(joiner.toSnapshot(), server.snapshot(), `seed ${seed}`);
    }
});

test("events that are repeated change nothing", () => {
    for (const seed of SEEDS) {
        const server = new ServerState(seed);
        const model = new SessionModel("s");
        const said = [];
        server.run(120, (event) => {
            said.push(event);
            model.apply(event);
            const again = said[Math.floor(server.random() * said.length)];
            assert.equal(model.apply(again), false);
        });
        assert.deepEqual(model.toSnapshot(), server.snapshot(), `seed ${seed}`);
    }
});

test("a lost event is noticed at once and a snapshot makes up for it", () => {
    for (const seed of SEEDS) {
        const server = new ServerState(seed);
        const model = new SessionModel("s");
        const said = [];
        server.run(100, (event) => said.push(event));
        const lost = Math.floor(server.random() * (said.length - 1));
        said.slice(0, lost).forEach((event) => model.apply(event));
        const before = model.toSnapshot();
        assert.throws(() => model.apply(said[lost + 1]), OutOfStep);
        assert.deepEqual(model.toSnapshot(), before, "a refused event changes nothing");
        model.apply(server.snapshot());
        assert.deepEqual(model.toSnapshot(), server.snapshot(), `seed ${seed}`);
    }
});

const SNAPSHOT = {
    type: "snapshot", session: "s", seq: 4, at: 3, live: true, source: "stream",
    speakers: [{ id: "S1", first_s: 0, total_s: 2 }, { id: "S2", name: "Ada", first_s: 2, total_s: 1 }],
    segments: [
        { id: 1, start: 0, end: 2, speaker: "S1", confidence: 0.9, final: true },
        { id: 2, start: 2, end: 3, speaker: "S2", name: "Ada", confidence: 0.6, final: false },
    ],
    gaps: [],
};

function started() {
    const model = new SessionModel("s");
    model.apply(structuredClone(SNAPSHOT));
    return model;
}

test("a speaker who was merged may come back", () => {
    const model = started();
    const told = (event) => model.apply({ ...event, session: "s", seq: model.seq + 1, at: 4 });
    told({ type: "revision", changes: [{ id: 2, from: "S2", to: "S1" }], reason: "merge" });
    told({ type: "speaker_merged", from: "S2", into: "S1" });
    assert.deepEqual([...model.mergedInto], [["S2", "S1"]]);
    told({ type: "speaker", id: "S2", first_s: 2 });
    told({ type: "revision", changes: [{ id: 2, from: "S1", to: "S2" }], reason: "split" });
    assert.equal(model.mergedInto.size, 0);
    assert.deepEqual([...model.speakers.keys()].sort(), ["S1", "S2"]);
});

test("an event that does not fit is refused as a whole", () => {
    const bad = [
        { type: "segment", id: 9, start: 3, end: 4, speaker: "S7", confidence: 1, final: true },
        { type: "segment", id: 1, start: 0, end: 2, speaker: "S2", confidence: 1, final: true },
        { type: "segment_removed", id: 7 },
        { type: "revision", changes: [{ id: 1, from: "S1", to: "S2" }, { id: 2, from: "S1", to: "S2" }], reason: "split" },
        { type: "revision", changes: [{ id: 1, from: "S1", to: "S9" }], reason: "split" },
        { type: "speaker_merged", from: "S1", into: "S9" },
        { type: "speaker_merged", from: "S9", into: "S1" },
        { type: "words", words: [{ id: 1, start: 0, end: 1, text: "so", final: true, speaker: "S9", segment: 1 }] },
        { type: "words", words: [{ id: 1, start: 0, end: 1, text: "so", final: true }], removed: [7] },
    ];
    for (const event of bad) {
        const model = started();
        assert.throws(() => model.apply({ ...event, session: "s", seq: 5, at: 4 }), OutOfStep, event.type);
        assert.deepEqual(model.toSnapshot(), SNAPSHOT, event.type);
    }
});

test("a later name counts for segments that were said before it", () => {
    const model = started();
    model.apply({ type: "speaker", session: "s", seq: 5, at: 3, id: "S2", name: "Grace", first_s: 2 });
    assert.equal(model.toSnapshot().segments[1].name, "Grace");
    model.apply({ type: "speaker", session: "s", seq: 6, at: 3, id: "S2", first_s: 2 });
    assert.equal(model.nameOf("S2"), "S2");
    assert.equal("name" in model.toSnapshot().segments[1], false);
});

test("listeners hear which segments moved, by a revision or by a snapshot", () => {
    const model = started();
    const heard = [];
    const end = model.subscribe((message, moved) => heard.push([message.type, moved.map((m) => [m.id, m.from, m.to])]));
    const changes = [{ id: 1, from: "S1", to: "S2" }];
    model.apply({ type: "revision", session: "s", seq: 5, at: 3, changes, reason: "merge" });
    model.apply({ ...structuredClone(SNAPSHOT), seq: 9 });
    end();
    model.apply({ ...structuredClone(SNAPSHOT), seq: 10 });
    assert.deepEqual(heard, [["revision", [[1, "S1", "S2"]]], ["snapshot", [[1, "S2", "S1"]]]]);
});

test("what is not known is passed over, and its number counts", () => {
    const model = started();
    assert.equal(model.apply({ type: "weather", session: "s", seq: 5, at: 3, sunny: true }), true);
    assert.equal(model.apply({ type: "gossip", session: "s" }), false);
    model.apply({ type: "segment_removed", session: "s", seq: 6, at: 3.5, id: 1 });
    assert.equal(model.seq, 6);
});

test("words are held by the segments that they are in", () => {
    const model = started();
    const word = (id, text, start, segment, speaker) => ({
        id, start, end: start + 0.2, text, final: true,
        ...(segment === undefined ? {} : { segment, speaker, speaker_confidence: 0.9 }),
    });
    const told = (event) => model.apply({ type: "words", session: "s", seq: model.seq + 1, at: 4, ...event });
    told({ words: [word(2, ",", 0.4, 1, "S1"), word(1, "well", 0.2, 1, "S1"), word(3, "yes", 2.5, 2, "S2"), word(4, "so", 9)] });
    assert.equal(model.textOf(1), "well,");
    assert.deepEqual(model.wordsOf(undefined).map((w) => w.id), [4]);
    told({ words: [word(3, "yes", 2.5, 1, "S1")], removed: [4] });
    assert.equal(model.textOf(1), "well, yes");
    assert.equal(model.textOf(2), "");
    assert.deepEqual([...model.words.keys()].sort(), [1, 2, 3]);
});

test("a name is text and nothing else", () => {
    const model = started();
    const name = "<script>alert(1)</script>";
    model.apply({ type: "speaker", session: "s", seq: 5, at: 3, id: "__proto__", name, first_s: 2 });
    assert.equal(model.nameOf("__proto__"), name);
    assert.equal(model.nameOf("constructor"), "constructor");
    assert.equal({}.name, undefined);
});

test("gaps that follow each other are one", () => {
    const model = started();
    const told = (event) => model.apply({ type: "gap", ...event, session: "s", seq: model.seq + 1, at: event.end });
    told({ start: 3, end: 3.5, reason: "declared" });
    told({ start: 3.5, end: 4, reason: "declared" });
    told({ start: 4, end: 4.5, reason: "disconnected" });
    told({ start: 5, end: 6, reason: "disconnected" });
    assert.deepEqual(model.gaps, [
        { start: 3, end: 4, reason: "declared" },
        { start: 4, end: 4.5, reason: "disconnected" },
        { start: 5, end: 6, reason: "disconnected" },
    ]);
});
