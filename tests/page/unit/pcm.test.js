// Samples on their way from the browser to the wire.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FileError, decode, play } from "../../../daemon/page/app/audio/file.js";
import { dueSamples, levelOf, mixDown, toPcm } from "../../../daemon/page/app/audio/pcm.js";

test("16-bit samples survive the way through floats exactly", () => {
    const all = Int16Array.from({ length: 65536 }, (_, i) => i - 32768);
    assert.deepEqual(toPcm(Float32Array.from(all, (s) => s / 32768)), all);
});

test("what is too loud is clipped and what is no number is silence", () => {
    const odd = Float32Array.of(2, -2, NaN, Infinity, -Infinity, 1);
    assert.deepEqual([...toPcm(odd)], [32767, -32768, 0, 32767, -32768, 32767]);
});

test("channels are mixed to their mean", () => {
    const mono = mixDown([Float32Array.of(1, 0.5), Float32Array.of(0, -0.5)]);
    assert.deepEqual([...mono], [0.5, 0]);
});

test("levels are in dB below full scale", () => {
    assert.equal(levelOf(new Int16Array(100)), -120);
    assert.equal(levelOf(new Int16Array(0)), -120);
    assert.ok(Math.abs(levelOf(new Int16Array(100).fill(-32768))) < 1e-9);
    assert.ok(Math.abs(levelOf(new Int16Array(100).fill(16384)) + 6.02) < 0.01);
});

test("playing keeps to its speed and catches up after a pause", () => {
    assert.equal(dueSamples(1000, 1, 16000, 1e6), 16000);
    assert.equal(dueSamples(1000, 4, 16000, 1e6), 64000);
    assert.equal(dueSamples(3_600_000, 1, 16000, 1e6), 1e6);
    assert.equal(dueSamples(0, Infinity, 16000, 1e6), 1e6);
});

test("every sample is sent once and in order, however the server takes them", async () => {
    const pcm = Int16Array.from({ length: 50_000 }, (_, i) => i % 30_000);
    const sent = [];
    let asked = 0;
    const publisher = {
        // Full now and then, as while the server is behind.
        get buffered() {
            asked += 1;
            return asked % 5 === 0 ? 1e9 : 0;
        },
        send: (block) => sent.push(...block),
    };
    let last = 0;
    await play(publisher, pcm, { speed: Infinity, isStopped: () => false, onProgress: (s) => { last = s; } });
    assert.deepEqual(Int16Array.from(sent), pcm);
    assert.equal(last, 50_000 / 16000);
});

test("a tab whose timers sleep sends what is due whenever it is woken", async () => {
    const pcm = new Int16Array(16_000).fill(1);
    let sent = 0;
    let wake;
    const publisher = { buffered: 0, send: (block) => { sent += block.length; } };
    // No timer ever fires: only what the server says wakes it.
    const wait = () => new Promise((resolve) => { wake = resolve; });
    const playing = play(publisher, pcm, { speed: 20, isStopped: () => false, onProgress: () => {}, wait });
    for (let times = 0; sent < pcm.length; times += 1) {
        assert.ok(times < 100, "each time it gets further");
        await new Promise((resolve) => { setTimeout(resolve, 5); });
        wake();
        await new Promise((resolve) => { setImmediate(resolve); });
    }
    wake();
    await playing;
});

test("a file that is too large is refused before it is read", async () => {
    const file = { name: "day.wav", size: 4e9, arrayBuffer: () => assert.fail("read") };
    await assert.rejects(decode(file), (error) => error instanceof FileError && error.values.size === 4000);
});
