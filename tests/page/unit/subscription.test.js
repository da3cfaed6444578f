// The subscription against a scripted server: reconnects, resumes without loss, and knows when not to.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Address, Backoff, SessionModel, Subscription } from "../../../daemon/page/client/index.js";
import { ServerState } from "./server-state.js";

/** A WebSocket whose other end is the test. */
function network() {
    const sockets = [];
    class Socket extends EventTarget {
        constructor(url, protocols) {
            super();
            Object.assign(this, { url: new URL(url), protocols, readyState: 0, sent: [] });
            sockets.push(this);
        }

        send(text) {
            this.sent.push(JSON.parse(text));
        }

        close() {
            this.readyState = 3;
        }

        opens() {
            this.readyState = 1;
            this.dispatchEvent(new Event("open"));
        }

        says(message) {
            const data = typeof message === "string" ? message : JSON.stringify(message);
            this.dispatchEvent(Object.assign(new Event("message"), { data }));
        }

        closes(code, reason = "") {
            this.readyState = 3;
            this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
        }
    }
    return { sockets, Socket };
}

const pause = (ms = 8) => new Promise((resolve) => { setTimeout(resolve, ms); });

function follow(options = {}) {
    const { sockets, Socket } = network();
    const model = new SessionModel("s");
    const states = [];
    const subscription = new Subscription(new Address("https://host.example/under"), model, {
        WebSocket: Socket,
        backoff: new Backoff({ firstMs: 1, maxMs: 2 }),
        onState: (state) => states.push(state.kind),
        ...options,
    });
    return { sockets, model, states, subscription };
}

test("it asks at the right address and is open when the socket is", () => {
    const { sockets, states, subscription } = follow();
    subscription.start();
    assert.equal(sockets[0].url.href, "wss://host.example/under/v1/events?session=s");
    assert.equal(subscription.send({ type: "finalize" }), false);
    sockets[0].opens();
    assert.equal(subscription.send({ type: "finalize" }), true);
    assert.deepEqual(sockets[0].sent, [{ type: "finalize" }]);
    assert.deepEqual(states, ["connecting", "open"]);
    subscription.stop();
});

test("broken at random places it still holds what the server holds", async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
        const server = new ServerState(seed);
        const said = [];
        const { sockets, model, subscription } = follow();
        subscription.start();
        for (let round = 0; round < 12; round += 1) {
            const socket = sockets.at(-1);
            socket.opens();
            const since = socket.url.searchParams.get("since");
            if (since === null) socket.says(server.snapshot());
            else said.slice(Number(since)).forEach((event) => socket.says(event));
            server.run(20, (event) => {
                said.push(event);
                // A connection that breaks loses its tail; one in eight events is lost in between.
                if (socket.readyState === 1 && (round % 3 !== 0 || server.random() < 0.875)) socket.says(event);
                if (server.random() < 0.05) socket.readyState = 3;
            });
            socket.closes(1006);
            await pause();
            assert.ok(sockets.at(-1) !== socket, "it has tried again");
        }
        const last = sockets.at(-1);
        last.opens();
        const since = last.url.searchParams.get("since");
        if (since === null) last.says(server.snapshot());
        else said.slice(Number(since)).forEach((event) => last.says(event));
        assert.deepEqual(model.toSnapshot(), server.snapshot(), `seed ${seed}`);
        subscription.stop();
    }
});

test("a session of the same id that is another one is taken afresh", async () => {
    let began = 1;
    const { sockets, model, subscription } = follow({ identify: () => Promise.resolve(began) });
    subscription.start();
    await pause();
    const first = new ServerState(1);
    first.run(50, () => {});
    sockets[0].opens();
    sockets[0].says(first.snapshot());
    sockets[0].closes(1006);
    await pause();
    assert.equal(sockets[1].url.searchParams.get("since"), String(first.seq));
    began = 2;
    sockets[1].closes(1006);
    await pause();
    assert.equal(sockets[2].url.searchParams.get("since"), null);
    const second = new ServerState(2);
    second.run(90, () => {});
    sockets[2].opens();
    sockets[2].says(second.snapshot());
    assert.deepEqual(model.toSnapshot(), second.snapshot());
    subscription.stop();
});

test("a session that was not listed yet is resumed all the same", async () => {
    let began;
    const { sockets, subscription } = follow({ identify: () => Promise.resolve(began) });
    subscription.start();
    await pause();
    began = 7;
    sockets[0].opens();
    const server = new ServerState(1);
    server.run(50, () => {});
    sockets[0].says(server.snapshot());
    await pause();
    sockets[0].closes(1006);
    await pause();
    assert.equal(sockets[1].url.searchParams.get("since"), String(server.seq));
    subscription.stop();
});

test("a server that cannot say which session it is does not keep the subscription waiting", async () => {
    const { sockets, subscription } = follow({ identify: () => Promise.reject(new Error("away")) });
    subscription.start();
    await pause();
    assert.equal(sockets.length, 1);
    subscription.stop();
});

test("closes that another try would not change are final", async () => {
    const cases = [[4400, "refused"], [4401, "unauthorised"], [4404, "gone"], [4413, "refused"]];
    for (const [code, kind] of cases) {
        const { sockets, subscription } = follow();
        subscription.start();
        sockets[0].opens();
        sockets[0].says({ type: "error", code: "not_found", reason: "why", fatal: true });
        sockets[0].closes(code);
        await pause();
        assert.deepEqual(subscription.state, { kind, code, reason: "why" });
        assert.equal(sockets.length, 1);
    }
    for (const code of [1000, 1001, 1006, 4429, 4500]) {
        const { sockets, subscription } = follow();
        subscription.start();
        sockets[0].opens();
        sockets[0].closes(code);
        await pause();
        assert.equal(sockets.length, 2, `${code} is worth another try while the session lives`);
        subscription.stop();
    }
});

test("an ended session is not asked for again", async () => {
    const server = new ServerState(3);
    const { sockets, subscription } = follow();
    subscription.start();
    sockets[0].opens();
    sockets[0].says(server.snapshot());
    sockets[0].says(server.end());
    sockets[0].closes(1000);
    await pause();
    assert.equal(subscription.state.kind, "ended");
    assert.equal(sockets.length, 1);
});

test("stopping ends everything, and a late answer is not heard", async () => {
    const { sockets, model, subscription } = follow();
    subscription.start();
    sockets[0].opens();
    subscription.stop();
    sockets[0].says(new ServerState(1).snapshot());
    sockets[0].closes(1006);
    await pause();
    assert.deepEqual([sockets.length, model.version, subscription.state.kind], [1, 0, "stopped"]);
});

test("what is not of the protocol makes it begin again", async () => {
    const { sockets, subscription } = follow();
    subscription.start();
    sockets[0].opens();
    sockets[0].says(new ServerState(1).snapshot());
    sockets[0].says("{broken");
    assert.equal(subscription.state.kind, "waiting");
    await pause();
    assert.equal(sockets[1].url.searchParams.get("since"), null);
    subscription.stop();
});

test("whoever stays gets later corrections, and comes back after a break", async () => {
    const { sockets, model, subscription, states } = follow({ stays: true });
    subscription.start();
    assert.equal(sockets[0].url.searchParams.get("stay"), "true");
    sockets[0].opens();
    const server = new ServerState(1);
    sockets[0].says(server.snapshot());
    sockets[0].says(server.end());
    sockets[0].says(server.event("title", { title: "Weekly" }));
    assert.deepEqual([model.live, model.title, states.at(-1)], [false, "Weekly", "open"]);
    sockets[0].closes(1001);
    await pause();
    assert.equal(sockets.length, 2, "a server that restarts is not the end");
    sockets[1].opens();
    sockets[1].closes(1000);
    assert.equal(states.at(-1), "ended");
});
