// What goes wrong around the page, one thing at a time: each has a clear message or none is needed, nothing breaks.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Address, Publisher } from "../../../daemon/page/client/index.js";
import { ServerState } from "../unit/server-state.js";
import { Daemon, browse, listed, open, openScripted, say, until } from "./harness.js";

let daemon;
let browser;

before(async () => {
    daemon = await Daemon.start();
    browser = await browse();
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
});

const scripted = (hash, script) => openScripted(browser, daemon.url, hash, script);

test("a server that is away at load is waited for", async () => {
    let isAway = true;
    const { page, context, trouble } = await scripted("#/now", {
        listing: () => (isAway ? { status: 502, body: "bad gateway" } : { json: { version: "1", model: "m", sessions: [] } }),
        allow: (what) => /502/.test(what),
    });
    await page.waitForTimeout(600);
    await context.unroute("**/v1/sessions");
    await context.route("**/v1/sessions", (route) => (isAway ? route.abort("connectionrefused") : route.continue()));
    await until(async () => (await page.locator(".empty h1").textContent()) === "The server is away", "word of it");
    isAway = false;
    await page.getByRole("button", { name: "Try now" }).click();
    await until(async () => (await page.locator(".empty h1").textContent()) === "No session yet", "the server");
    assert.equal(await page.locator(".banner").isVisible(), false);
    assert.deepEqual(trouble.filter((what) => !/ERR_CONNECTION_REFUSED/.test(what)), []);
    await context.close();
});

test("a token that is missing, wrong, right, and later expired", async () => {
    let good = "right";
    const { page, context, sockets, trouble } = await scripted("#/speakers", {
        listing: (request) => (request.headers().authorization === `Bearer ${good}`
            ? { json: { version: "1", model: "m", sessions: [listed("s")] } }
            : { status: 401, json: { type: "error", code: "unauthorised", reason: "a token is needed", fatal: true } }),
        speak: (socket) => {
            const server = new ServerState(3);
            server.run(30, () => {});
            say(socket, server.snapshot());
        },
        allow: (what) => /401/.test(what),
    });
    const field = page.getByRole("textbox", { name: "Token" });
    await field.waitFor();
    assert.equal(await page.locator(".login .fault").isVisible(), false, "nothing is wrong yet");
    await page.keyboard.press("Escape");
    assert.equal(await field.isVisible(), true, "there is nothing behind it");
    await field.fill("wrong");
    await page.getByRole("button", { name: "Enter" }).click();
    await until(() => page.locator(".login .fault").isVisible(), "word that it is wrong");
    await field.fill("right");
    await page.keyboard.press("Enter");
    await until(() => page.locator(".person").first().isVisible(), "the speakers");
    assert.equal(await field.isVisible(), false);
    assert.ok(sockets.length >= 1);
    assert.equal(await page.evaluate(() => localStorage.getItem("diarized.token")), null, "kept for this tab only");
    good = "renewed";
    sockets.at(-1).close({ code: 4401, reason: "revoked" });
    await until(() => field.isVisible(), "the question again");
    await field.fill("renewed");
    await page.getByLabel("Keep it on this device").check();
    await page.keyboard.press("Enter");
    await until(async () => !(await field.isVisible()), "the page");
    assert.equal(await page.evaluate(() => localStorage.getItem("diarized.token")), "renewed");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a microphone that is refused, and one that is not there", async () => {
    for (const [name, message] of [["NotAllowedError", /no leave/], ["NotFoundError", /No microphone/], ["NotReadableError", /in use/]]) {
        const { page, context, trouble } = await open(browser, daemon.url, { hash: "#/listen" });
        await page.evaluate((fault) => {
            navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", fault));
        }, name);
        await page.getByRole("button", { name: "Start listening" }).click();
        const fault = page.locator(".listen-card .fault").first();
        await until(() => fault.isVisible(), name);
        assert.match(await fault.textContent(), message);
        assert.equal(await page.getByRole("button", { name: "Start listening" }).isEnabled(), true);
        assert.deepEqual(trouble, []);
        await context.close();
    }
    // A browser that has no microphone, and nobody's script in between.
    const { page, context, trouble } = await open(browser, daemon.url, { hash: "#/listen" });
    await page.getByRole("button", { name: "Start listening" }).click();
    await until(() => page.locator(".listen-card .fault").first().isVisible(), "the reason");
    assert.deepEqual(trouble, []);
    await context.close();
    assert.equal((await daemon.json("v1/sessions")).sessions.length, 0, "no session was opened for nothing");
});

test("files that are no audio", async () => {
    const folder = mkdtempSync(join(tmpdir(), "diarized-page-"));
    const { page, context, trouble } = await open(browser, daemon.url, { hash: "#/listen" });
    for (const [name, content] of [["notes.wav", "RIFF, but only in name"], ["empty.mp3", ""], ["<img src=x>.txt", "text"]]) {
        const path = join(folder, name.replaceAll(/[<>]/g, ""));
        writeFileSync(path, content);
        await page.locator("#listen-file").setInputFiles({ name, mimeType: "audio/wav", buffer: Buffer.from(content) });
        const fault = page.locator(".drop .fault");
        await until(async () => (await fault.textContent()) === `${name} is not audio that this browser can decode.`, name);
        assert.equal(await page.locator(".drop img").count(), 0);
    }
    rmSync(folder, { recursive: true });
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a session that is ended and deleted while it is open", async () => {
    const publisher = new Publisher(new Address(daemon.url), { session: "doomed" });
    await publisher.open();
    publisher.send(new Int16Array(32000));
    const { page, context, trouble } = await open(browser, daemon.url, { hash: "#/sessions?session=doomed" });
    await page.getByRole("button", { name: "End: doomed" }).click();
    await page.getByRole("button", { name: "Keep" }).click();
    await page.getByRole("button", { name: "End: doomed" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
    await until(async () => (await page.locator(".state").textContent()) === "This session has ended: ended by request", "the end");
    await page.getByRole("button", { name: "Delete: doomed" }).click();
    await page.getByRole("button", { name: "Undo", exact: true }).click();
    await page.getByRole("button", { name: "Delete: doomed" }).click();
    assert.equal((await fetch(`${daemon.url}v1/sessions/doomed`)).status, 200, "it can be taken back for some seconds");
    await until(async () => (await page.locator(".state").textContent()) === "This session is no longer on the server", "word of it");
    for (const view of ["now", "timeline", "speakers", "health"]) {
        await page.goto(`${daemon.url}#/${view}?session=doomed`);
        await until(() => page.locator(`.view.${view}`).isVisible(), `${view}, with what was heard`);
    }
    await page.goto(`${daemon.url}#/timeline?session=never-was`);
    await until(async () => (await page.locator(".state").textContent()) === "This session is no longer on the server", "a stranger");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("ten thousand segments at once", async (t) => {
    const segments = Array.from({ length: 10_000 }, (_, i) => ({
        id: i + 1, start: i * 2, end: i * 2 + 1.7, speaker: `S${1 + ((i * 7) % 12)}`, confidence: 0.9, final: true,
    }));
    const speakers = Array.from({ length: 12 }, (_, i) => ({ id: `S${i + 1}`, first_s: i * 2, total_s: 1 }));
    const { page, context, trouble } = await scripted("#/timeline?session=s", {
        speak: (socket) => say(socket, {
            type: "snapshot", session: "s", seq: 50_000, at: 20_000, live: true, source: "stream", speakers, segments, gaps: [],
        }),
    });
    const canvas = page.locator(".lanes");
    await until(async () => (await canvas.getAttribute("aria-label"))?.includes("12 speakers, 5:33:20"), "all of them");
    await page.getByRole("button", { name: "Show everything" }).click();
    const frames = await page.evaluate(() => new Promise((resolve) => {
        const times = [];
        const began = performance.now();
        const step = (now) => {
            times.push(now);
            if (performance.now() - began < 2000) requestAnimationFrame(step);
            else resolve(times.length);
        };
        requestAnimationFrame(step);
    }));
    t.diagnostic(`${frames / 2} frames a second with 10,000 segments in sight`);
    for (const view of ["speakers", "now", "timeline"]) {
        await page.goto(`${daemon.url}#/${view}?session=s`);
        await until(() => page.locator(`.view.${view}`).isVisible(), view);
    }
    await canvas.focus();
    for (const key of ["Home", "+", "+", "ArrowRight", "Shift+ArrowRight", "End", "0"]) await page.keyboard.press(key);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("an hour in a background tab, told at once", async () => {
    const server = new ServerState(11);
    const { page, context, sockets, trouble } = await scripted("#/speakers?session=s", {
        speak: (socket) => say(socket, server.snapshot()),
    });
    await until(() => sockets.length === 1, "a subscription");
    // A browser gives a hidden tab no frames: they wait until the tab is looked at again.
    await page.evaluate(() => {
        const frames = [];
        const own = globalThis.requestAnimationFrame;
        globalThis.requestAnimationFrame = (draw) => frames.push(draw);
        globalThis.lookAtAgain = () => {
            globalThis.requestAnimationFrame = own;
            globalThis.waited = frames.length;
            frames.splice(0).forEach((draw) => own(draw));
        };
    });
    server.run(4000, (event) => say(sockets[0], event));
    await page.waitForTimeout(1000);
    await page.evaluate(() => globalThis.lookAtAgain());
    assert.ok(await page.evaluate(() => globalThis.waited) <= 3, "frames do not pile up");
    await until(async () => (await page.locator(".person").count()) === server.speakers.length, "everybody who came meanwhile");
    assert.equal(sockets.length, 1, "no event was lost on the way");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a clock that jumps, and one that stands", async () => {
    const server = new ServerState(5);
    const { page, context, sockets, trouble } = await scripted("#/now?session=s", {
        speak: (socket) => say(socket, server.snapshot()),
    });
    await until(() => sockets.length === 1, "a subscription");
    for (const shift of [86_400_000, -86_400_000 * 400]) {
        await page.evaluate((ms) => {
            const now = Date.now();
            Date.now = () => now + ms;
        }, shift);
        server.run(40, (event) => say(sockets[0], event));
        await page.waitForTimeout(300);
    }
    await until(async () => /^s · \d+:\d\d/.test(await page.locator(".now-where").textContent()), "the stream's own time");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("words, speakers and events that make no sense", async () => {
    const odd = [
        "{broken", "[]", '"text"', '{"type":"segment"}', '{"type":"snapshot","session":"s","seq":1}',
        JSON.stringify({ type: "revision", session: "s", seq: 1, at: 1, changes: [{ id: 1, from: "S1", to: "S2" }], reason: "x" }),
    ];
    const server = new ServerState(2);
    server.run(40, () => {});
    const { page, context, sockets, trouble } = await scripted("#/speakers?session=s", {
        speak: (socket, n) => {
            if (n > odd.length) {
                say(socket, server.snapshot());
                return;
            }
            say(socket, { ...server.snapshot(), seq: 0, segments: [], speakers: [] });
            socket.send(odd[n - 1]);
        },
    });
    await until(async () => (await page.locator(".person").count()) === server.speakers.length, "the labels after all");
    assert.equal(sockets.length, odd.length + 1, "each was answered by beginning again");
    say(sockets.at(-1), { type: "weather", session: "s", seq: server.seq + 1, at: 1, sunny: true });
    say(sockets.at(-1), { type: "speaker", session: "s", seq: server.seq + 2, at: 1, id: "S1", first_s: 0, name: "<script>alert(1)</script>" });
    await until(async () => (await page.locator(".person-name").allTextContents()).includes("<script>alert(1)</script>"), "a name");
    for (const view of ["now", "timeline", "sessions", "health"]) {
        await page.goto(`${daemon.url}#/${view}?session=s`);
        await until(() => page.locator(`.view.${view}`).isVisible(), view);
    }
    assert.equal(await page.locator("body script").count(), 0);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the policy keeps everything else out", async () => {
    const { page, context } = await open(browser, daemon.url, { allow: () => true });
    const outcomes = await page.evaluate(async () => {
        const blocked = async (act) => {
            try {
                await act();
                return "allowed";
            } catch {
                return "blocked";
            }
        };
        const inline = document.createElement("img");
        return {
            markup: await blocked(() => { document.body.innerHTML = "<b>no</b>"; }),
            script: await blocked(() => { document.createElement("script").text = "globalThis.ran = true"; }),
            elsewhere: await blocked(() => fetch("http://127.0.0.1:9/")),
            inline: await new Promise((resolve) => {
                inline.onerror = () => resolve("blocked");
                inline.onload = () => resolve("allowed");
                inline.src = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
            }),
        };
    });
    assert.deepEqual(outcomes, { markup: "blocked", script: "blocked", elsewhere: "blocked", inline: "blocked" });
    await context.close();
});
