// The timeline's camera, lanes and frames, without a canvas.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Camera, MAX_SCALE, ticks } from "../../../daemon/page/app/timeline/camera.js";
import { MOVE_MS, SegmentIndex, TimelineModel } from "../../../daemon/page/app/timeline/model.js";
import { SessionModel } from "../../../daemon/page/client/index.js";
import { randomOf } from "./server-state.js";

function session(rows, end = 100) {
    const labels = [...new Set(rows.map((row) => row[2]))];
    const model = new SessionModel("s");
    model.apply({
        type: "snapshot", session: "s", seq: 1, at: end, live: true, source: "stream",
        gaps: [{ start: 40, end: 45, reason: "overrun" }],
        speakers: labels.map((id) => ({ id, first_s: 0 })),
        segments: rows.map(([start, end, speaker, final = true], i) => (
            { id: i + 1, start, end, speaker, confidence: 0.9, final }
        )),
    });
    return model;
}

function camera({ width = 1000, span = 100, end = 100 } = {}) {
    const made = new Camera({ span });
    made.resize(width);
    made.follow(end);
    return made;
}

const SPACE = { top: 20, height: 200, nowMs: 0, isStill: true };

test("the live end stays in place while time goes on, and the past stays where it was put", () => {
    const view = camera({ span: 60 });
    const x = view.x(100);
    view.follow(130);
    assert.ok(Math.abs(view.x(130) - x) < 1e-9);
    view.pan(-300);
    assert.equal(view.isLive, false);
    const left = view.left;
    view.follow(5000);
    assert.equal(view.left, left);
    view.toLive();
    assert.ok(Math.abs(view.x(5000) - x) < 1e-9);
});

test("panning past the live end follows it again, and before the beginning there is nothing", () => {
    const view = camera({ span: 60, end: 7200 });
    view.pan(-1e9);
    assert.ok(view.x(0) >= 0 && view.x(0) < 100, "the beginning is at the left edge");
    view.pan(1e9);
    assert.equal(view.isLive, true);
});

test("zooming keeps the time under the pointer, within limits", () => {
    for (let seed = 1; seed <= 200; seed += 1) {
        const random = randomOf(seed);
        const view = camera({ span: 60, end: 7200 });
        view.pan(-10_000 - random() * 50_000);
        const x = random() * 1000;
        const time = view.time(x);
        const factor = 0.7 + random() * 0.6;
        view.zoom(factor, x);
        const free = view.left > 120 && view.right < 7000;
        if (free) assert.ok(Math.abs(view.time(x) - time) < 1e-6, `seed ${seed}`);
        for (let i = 0; i < 40; i += 1) view.zoom(factor, x);
        assert.ok(view.scale <= MAX_SCALE + 1e-9 && view.span <= 7200 * 1.13, `seed ${seed}`);
    }
});

test("a wider canvas shows the same span", () => {
    const view = camera({ width: 300, span: 60 });
    view.resize(1200);
    assert.ok(Math.abs(view.right - view.left - 60) < 1e-9);
});

test("marks are round, in order, and apart", () => {
    for (let scale = 0.001; scale < 300; scale *= 1.7) {
        const { times } = ticks(3, 3 + 1000 / scale, scale);
        times.slice(1).forEach((time, i) => assert.ok((time - times[i]) * scale >= 71, `${scale}`));
        assert.ok(times.length >= 1 || scale > 200 || scale < 0.01, `${scale}`);
    }
    assert.deepEqual(ticks(0, 10, 100).times, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("the index finds what a linear search finds", () => {
    for (let seed = 1; seed <= 50; seed += 1) {
        const random = randomOf(seed);
        const all = Array.from({ length: 200 }, (_, id) => {
            const start = random() * 100;
            return { id, start, end: start + random() ** 4 * 60 };
        });
        const index = new SegmentIndex();
        index.load(all);
        for (let i = 0; i < 20; i += 1) {
            const time = random() * 120;
            const first = index.firstAfter(time);
            const missed = index.all.slice(0, first).filter((s) => s.end > time);
            assert.deepEqual(missed, []);
            if (first < index.all.length) assert.ok(index.reach[first] > time);
        }
    }
});

test("bars lie where the camera says, in their lanes", () => {
    const model = new TimelineModel(session([[10, 20, "S1"], [20, 25, "S2", false], [200, 210, "S1"]]));
    const view = camera();
    const frame = model.frame(view, SPACE);
    assert.deepEqual(frame.bars.map((b) => [b.id, b.speaker, b.final]), [[1, "S1", true], [2, "S2", false]]);
    assert.equal(frame.bars[0].x, view.x(10));
    assert.ok(Math.abs(frame.bars[0].width - 10 * view.scale) < 1e-9);
    assert.equal(frame.bars[1].y - frame.bars[0].y, frame.laneHeight);
    assert.deepEqual(frame.gaps.map((g) => [g.x, g.reason]), [[view.x(40), "overrun"]]);
});

test("a revision moves a segment from lane to lane and does not jump", () => {
    let now = 0;
    const labels = session([[10, 20, "S1"], [20, 25, "S2"]]);
    const model = new TimelineModel(labels, () => now);
    const view = camera();
    const space = { ...SPACE, isStill: false };
    const y = () => model.frame(view, { ...space, nowMs: now }).bars.find((b) => b.id === 2).y;
    y();
    const [first, second] = [model.lanes.y("S1"), model.lanes.y("S2")];
    labels.apply({
        type: "revision", session: "s", seq: 2, at: 100, reason: "split", changes: [{ id: 2, from: "S2", to: "S1" }],
    });
    let last = y();
    assert.equal(last, second);
    let largest = 0;
    for (now = 16; now <= MOVE_MS; now += 16) {
        const at = y();
        assert.ok(at <= last && at >= first);
        largest = Math.max(largest, last - at);
        last = at;
    }
    now = MOVE_MS + 16;
    assert.equal(y(), first);
    assert.ok(largest < (second - first) / 4, `a step of ${largest}`);
    assert.equal(model.isMoving, false);
});

test("a merged lane closes while its segments leave it", () => {
    let now = 0;
    const labels = session([[1, 2, "S1"], [10, 20, "S2"], [20, 25, "S3"]]);
    const model = new TimelineModel(labels, () => now);
    const view = camera();
    const frame = () => model.frame(view, { ...SPACE, isStill: false, nowMs: now });
    frame();
    const third = model.lanes.y("S3");
    labels.apply({
        type: "revision", session: "s", seq: 2, at: 100, reason: "merge", changes: [{ id: 2, from: "S2", to: "S1" }],
    });
    labels.apply({ type: "speaker_merged", session: "s", seq: 3, at: 100, from: "S2", into: "S1" });
    frame();
    assert.ok(model.lanes.y("S2") !== undefined, "the lane is there while something leaves it");
    const heights = [third];
    for (now = 16; now < 3000; now += 16) {
        frame();
        heights.push(model.lanes.y("S3"));
    }
    heights.slice(1).forEach((y, i) => assert.ok(y <= heights[i]));
    assert.equal(model.lanes.y("S2"), undefined);
    assert.ok(heights.at(-1) < third, "the lane below moved up");
    assert.equal(model.isMoving, false);
});

test("whoever asks for stillness sees no movement", () => {
    const labels = session([[10, 20, "S1"], [20, 25, "S2"]]);
    const model = new TimelineModel(labels, () => 0);
    model.frame(camera(), SPACE);
    labels.apply({
        type: "revision", session: "s", seq: 2, at: 100, reason: "split", changes: [{ id: 2, from: "S2", to: "S1" }],
    });
    const frame = model.frame(camera(), SPACE);
    assert.equal(frame.bars[1].y, frame.bars[0].y);
    assert.equal(model.isMoving, false);
});

test("a point finds its segment, also the one under joined bars", () => {
    const rows = Array.from({ length: 5000 }, (_, i) => [i * 2, i * 2 + 1.9, i % 2 ? "S1" : "S2"]);
    const model = new TimelineModel(session(rows, 10_000));
    const view = camera({ span: 10_000, end: 10_000 });
    model.frame(view, SPACE);
    for (const idx of [0, 1, 1234, 4999]) {
        const [start, , speaker] = rows[idx];
        const hit = model.hit(view, view.x(start + 1), model.lanes.y(speaker) + 5, 0.1);
        assert.equal(hit.id, idx + 1);
    }
    assert.equal(model.hit(view, 500, 5), undefined, "above the lanes there is nothing");
});

test("ten thousand segments make no more bars than there are pixels, and quickly", () => {
    const random = randomOf(3);
    let at = 0;
    const rows = Array.from({ length: 10_000 }, () => {
        const start = at;
        at += 0.5 + random() * 3;
        return [start, at - 0.2, `S${1 + Math.floor(random() * 6)}`];
    });
    const model = new TimelineModel(session(rows, at));
    const view = camera({ width: 1200, span: at, end: at });
    const frame = model.frame(view, SPACE);
    const joined = frame.bars.reduce((sum, bar) => sum + bar.count, 0);
    const seen = rows.filter(([start, end]) => end > view.left && start <= view.right).length;
    assert.equal(joined, seen, "every segment is in a bar");
    assert.ok(frame.bars.length <= 6 * 1200, `${frame.bars.length} bars`);
    view.zoom(100, 600);
    assert.ok(model.frame(view, SPACE).bars.length < 200, "what is not seen costs nothing");
});

test("neighbours are walked in the order of time", () => {
    const model = new TimelineModel(session([[10, 20, "S1"], [20, 25, "S2"], [30, 31, "S1"]]));
    assert.equal(model.neighbour(undefined, 1, 22).id, 2);
    assert.equal(model.neighbour(2, 1).id, 3);
    assert.equal(model.neighbour(3, 1).id, 3);
    assert.equal(model.neighbour(2, -1).id, 1);
    assert.equal(new TimelineModel(new SessionModel("e")).neighbour(undefined, 1, 0), undefined);
});
