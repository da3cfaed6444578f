// The publisher against a scripted server: audio is sent once and whole, also across a break.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Address, Backoff, PublishError, Publisher } from "../../../daemon/page/client/index.js";
import { randomOf } from "./server-state.js";

const pause = (ms = 8) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A server that takes samples and can be cut off. */
class FakeServer {
    constructor(graceS) {
        this.graceS = graceS;
        this.samples = [];
        this.sockets = [];
        const server = this;
        this.Socket = class extends EventTarget {
            constructor(url, protocols) {
                super();
                Object.assign(this, { url: new URL(url), protocols, readyState: 0, bufferedAmount: 0 });
                server.sockets.push(this);
                setTimeout(() => server.accept(this), 1);
            }

            send(data) {
                if (this.readyState === 1) server.hear(this, data);
            }

            close(code) {
                server.drop(this, code);
            }
        };
    }

    accept(socket) {
        if (socket.readyState !== 0) return;
        if (this.isAway) {
            this.drop(socket, 1006);
            return;
        }
        socket.readyState = 1;
        socket.dispatchEvent(new Event("open"));
        if (socket.url.search) this.say(socket, this.started());
    }

    started(more = {}) {
        const grace = this.graceS === undefined ? {} : { resume_grace_s: this.graceS };
        return { type: "started", session: "s", token: "secret", model: "m", version: "1", audio: {}, ...grace, ...more };
    }

    hear(socket, data) {
        if (typeof data !== "string") {
            this.samples.push(...data);
            const received_s = Math.floor((this.samples.length / 16000) * 1000) / 1000;
            if (this.acks) this.say(socket, { type: "ack", session: "s", received_s });
            return;
        }
        const message = JSON.parse(data);
        if (message.type === "start") {
            assert.equal(message.resume.token, "secret");
            const code = this.refusals?.shift();
            if (code) {
                this.say(socket, { type: "error", code, reason: code, fatal: true });
                this.drop(socket, 4409);
                return;
            }
            const received_samples = this.samples.length;
            this.say(socket, this.started({ resumed: true, received_s: received_samples / 16000, received_samples }));
        } else if (message.type === "close") {
            this.say(socket, { type: "ended", session: "s", seq: 1, at: 0, duration_s: 0, speakers: 0, reason: "closed" });
            this.drop(socket, 1000);
        }
    }

    say(socket, message) {
        socket.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify(message) }));
    }

    drop(socket, code) {
        if (socket.readyState === 3) return;
        socket.readyState = 3;
        setTimeout(() => socket.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" })), 1);
    }
}

function publisherOf(server, options = {}) {
    return new Publisher(new Address("http://host/", options.token), {
        session: "s", WebSocket: server.Socket, backoff: new Backoff({ firstMs: 1, maxMs: 4 }), ...options,
    });
}

const block = (at, n) => Int16Array.from({ length: n }, (_, i) => (at + i) % 30_000);

test("broken at random it sends every sample once and in order", async () => {
    for (let seed = 1; seed <= 20; seed += 1) {
        const random = randomOf(seed);
        const server = new FakeServer(30);
        const publisher = publisherOf(server);
        await publisher.open();
        let at = 0;
        for (let i = 0; i < 40; i += 1) {
            const n = 1 + Math.floor(random() * 1600);
            server.acks = random() < 0.3;
            publisher.send(block(at, n));
            at += n;
            if (random() < 0.15) server.drop(server.sockets.at(-1), 1006);
            if (random() < 0.4) await pause(3);
        }
        const ended = await publisher.finish();
        assert.equal(ended.type, "ended", `seed ${seed}`);
        assert.deepEqual(Int16Array.from(server.samples), block(0, at), `seed ${seed}`);
        assert.ok(server.sockets.length > 1 || seed > 15);
    }
});

test("a server that does not resume ends the stream, and says so once", async () => {
    const server = new FakeServer(undefined);
    const broke = [];
    const publisher = publisherOf(server, { onBreak: (error) => broke.push(error) });
    await publisher.open();
    server.drop(server.sockets[0], 1006);
    await pause();
    publisher.send(block(0, 10));
    assert.deepEqual([server.sockets.length, broke.length, server.samples.length, publisher.sent_s], [1, 1, 0, 0]);
    assert.ok(broke[0] instanceof PublishError);
    assert.equal(await publisher.finish(), undefined);
});

test("a close that is meant is not resumed", async () => {
    for (const close of [1000, 1001, 4401, 4403, 4408, 4409, 4413]) {
        const server = new FakeServer(30);
        const broke = [];
        const publisher = publisherOf(server, { onBreak: (error) => broke.push(error.close) });
        await publisher.open();
        server.drop(server.sockets[0], close);
        await pause();
        assert.deepEqual([server.sockets.length, broke], [1, [close]]);
    }
});

test("a refusal that passes is tried again, and any other is the end", async () => {
    for (const [refusals, expected] of [[["elsewhere", "too_many_sessions", "overloaded"], []], [["not_found"], ["not_found"]]]) {
        const server = new FakeServer(30);
        server.refusals = refusals;
        const broke = [];
        const publisher = publisherOf(server, { onBreak: (error) => broke.push(error.code) });
        await publisher.open();
        server.drop(server.sockets[0], 1012);
        await pause(60);
        assert.deepEqual([broke, publisher.isOpen], [expected, expected.length === 0]);
    }
});

test("after the grace it gives up", async () => {
    const server = new FakeServer(0.02);
    const broke = [];
    const publisher = publisherOf(server, { onBreak: (error) => broke.push(error.close) });
    await publisher.open();
    server.isAway = true;
    server.drop(server.sockets[0], 1006);
    await pause(80);
    assert.deepEqual(broke, [1006]);
    assert.ok(server.sockets.length > 1);
});

test("a token travels where a browser lets it", async () => {
    const server = new FakeServer(30);
    const publisher = publisherOf(server, { token: "t0k" });
    await publisher.open();
    assert.deepEqual(server.sockets[0].protocols, ["diarized.v1", "bearer.t0k"]);
    assert.equal(server.sockets[0].url.href, "ws://host/v1/stream?sample_rate=16000&session=s");
    await publisher.finish();
});

test("a refusal carries the server's reason", async () => {
    const server = new FakeServer(30);
    server.accept = (socket) => {
        socket.readyState = 1;
        server.say(socket, { type: "error", code: "conflict", reason: "taken", fatal: true });
        server.drop(socket, 4409);
    };
    await assert.rejects(publisherOf(server).open(), (error) => (
        error instanceof PublishError && error.message === "taken" && error.code === "conflict" && error.close === 4409
    ));
});
