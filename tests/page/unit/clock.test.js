// The live clock: never back, never far ahead, smooth between messages; and the delays between tries.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, LiveClock } from "../../../daemon/page/client/index.js";
import { MAX_AHEAD_S } from "../../../daemon/page/client/clock.js";
import { randomOf } from "./server-state.js";

test("it never goes back and never runs ahead, whatever comes when", () => {
    for (let seed = 1; seed <= 100; seed += 1) {
        const random = randomOf(seed);
        const clock = new LiveClock();
        let [now, heard, last] = [random() * 1e6, 0, 0];
        for (let i = 0; i < 400; i += 1) {
            // Frames of 16 ms, throttled ones, an hour asleep, and a wall clock that is set back.
            now += [16, 16, 16, 1000, 3_600_000, -5000][Math.floor(random() * 6)];
            if (random() < 0.3) {
                heard = Math.max(0, heard + random() * 4 - 0.5);
                clock.hear(heard, now);
            }
            const position = clock.tick(now);
            assert.ok(position >= last, `seed ${seed}: ${position} after ${last}`);
            assert.ok(position <= clock.heard + MAX_AHEAD_S + 1e-9, `seed ${seed}: ahead`);
            last = position;
        }
    }
});

test("it runs evenly while messages come unevenly", () => {
    const random = randomOf(7);
    const clock = new LiveClock();
    let next = 0;
    let last;
    for (let ms = 0; ms < 20_000; ms += 16) {
        if (ms >= next) {
            clock.hear(ms / 1000 - random() * 0.05, ms);
            next = ms + 250 + random() * 250;
        }
        const position = clock.tick(ms);
        if (ms > 3000) assert.ok(position - last < 0.04 && position - last >= 0, `a step of ${position - last} s`);
        last = position;
    }
    assert.ok(Math.abs(last - 20) < 0.3, `${last}`);
});

test("it stands when nothing comes and jumps after a long sleep", () => {
    const clock = new LiveClock();
    clock.hear(10, 0);
    assert.equal(clock.tick(0), 10);
    for (let ms = 0; ms <= 60_000; ms += 100) clock.tick(ms);
    assert.equal(clock.position, 10 + MAX_AHEAD_S);
    clock.hear(3610, 60_000);
    assert.equal(clock.tick(60_016) >= 3610, true);
});

test("delays double up to their limit, spread, and start over", () => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1000, random: () => 0 });
    assert.deepEqual(Array.from({ length: 6 }, () => backoff.next()), [100, 200, 400, 800, 1000, 1000]);
    backoff.reset();
    assert.equal(backoff.next(), 100);
    const spread = new Backoff({ firstMs: 100, random: () => 0.999 });
    assert.equal(spread.next(), 50);
});
