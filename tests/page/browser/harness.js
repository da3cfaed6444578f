// Starts the real daemon, plays files into it, and opens pages in a real browser that watches for trouble.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { lookOf } from "../../../daemon/page/app/palette.js";
import { Address, Publisher } from "../../../daemon/page/client/index.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ROOT = new URL("../../../", import.meta.url);
export const inRepository = (path) => fileURLToPath(new URL(path, ROOT));

export const BINARY = process.env.DIARIZED ?? inRepository("target/debug/diarized");
export const CONVERSATION = inRepository("tests/data/example/conversation.flac");
export const CHROMIUM = process.env.CHROMIUM
    ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** Longer than anything here takes on a busy machine: what waits this long hangs. */
export const PATIENCE_MS = Number(process.env.PATIENCE_S ?? 60) * 1000;

/** A running daemon. */
export class Daemon {
    static async start({ port = 0, args = [] } = {}) {
        const daemon = new Daemon();
        const all = ["serve", "--listen", `127.0.0.1:${port}`, ...args];
        const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DIARIZED_")));
        daemon.child = spawn(BINARY, all, { stdio: ["ignore", "pipe", "pipe"], env });
        daemon.log = "";
        daemon.child.stderr.on("data", (data) => { daemon.log += data; });
        daemon.ended = new Promise((resolve) => { daemon.child.once("exit", resolve); });
        const lines = createInterface({ input: daemon.child.stdout });
        const ready = new Promise((resolve) => { lines.once("line", resolve); });
        const first = await Promise.race([ready, daemon.ended]);
        const url = /is ready at (http:\/\/[^ ]+)/.exec(String(first))?.[1];
        assert.ok(url, `the daemon did not start: ${first} ${daemon.log}`);
        daemon.url = `${url}/`;
        daemon.port = Number(new URL(url).port);
        return daemon;
    }

    /** Plays a file into a session; resolves with the messages when it has ended. */
    async stream(session, { speed = "max", file = CONVERSATION } = {}) {
        const args = ["stream", file, "--url", this.url.replace("http", "ws"), "--session", session, "--speed", speed, "--json"];
        const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "ignore"] });
        this.streams = [...(this.streams ?? []), child];
        let text = "";
        child.stdout.on("data", (data) => { text += data; });
        await new Promise((resolve) => { child.once("exit", resolve); });
        return text.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
    }

    async json(path) {
        return (await fetch(new URL(path, this.url))).json();
    }

    /** The labels of a session as the server holds them. */
    snapshot(session) {
        return this.json(`v1/sessions/${session}`);
    }

    /** A session that the test feeds with parts of `samples` and keeps open. */
    async publish(session, samples, token) {
        const publisher = new Publisher(new Address(this.url, token), { session });
        await publisher.open();
        const alive = setInterval(() => publisher.keepAlive(), 5000).unref();
        return {
            send(fromS, toS) {
                for (let at = fromS * 16000; at < toS * 16000; at += 16000) {
                    publisher.send(samples.slice(at, Math.min(at + 16000, toS * 16000)));
                }
            },
            heard: (seconds) => until(async () => {
                const { sessions } = await this.json("v1/sessions");
                return sessions.find((s) => s.session === session)?.duration_s >= seconds;
            }, `${seconds} s heard`),
            /** Settles the labels: only final segments can be reassigned. */
            settle: async () => {
                publisher.socket.send(JSON.stringify({ type: "finalize" }));
                await until(async () => (await this.snapshot(session)).segments.every((s) => s.final), "final segments");
            },
            finish() {
                clearInterval(alive);
                return publisher.finish();
            },
        };
    }

    async stop(signal = "SIGTERM") {
        for (const child of this.streams ?? []) child.kill();
        this.child.kill(signal);
        await this.ended;
    }
}

/** A browser; with `sound` its fake microphone plays that file over and over. */
export async function browse({ sound, args = [] } = {}) {
    const fake = sound ? [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${sound}`,
    ] : [];
    const browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: [
            "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", ...fake, ...args,
        ],
    });
    return browser;
}

/** A page that keeps a list of everything that should not happen; with `isBlank` the caller goes to the address. */
export async function open(browser, url, { context: options = {}, hash = "", allow = () => false, isBlank = false } = {}) {
    const context = await browser.newContext({
        viewport: { width: 1280, height: 800 }, locale: "en-GB", reducedMotion: "no-preference", ...options,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const trouble = [];
    // What a step is about to provoke: browsers write every refusal of a server on the console.
    const allowed = [];
    const note = (what) => {
        if (!allow(what) && !allowed.some((pattern) => pattern.test(what))) trouble.push(what);
    };
    page.on("console", (message) => note(`console ${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => note(`error: ${error.stack}`));
    const { host } = new URL(url);
    page.on("request", (request) => {
        const to = new URL(request.url());
        if (to.protocol !== "blob:" && to.host !== host) note(`foreign request: ${request.url()}`);
    });
    page.on("websocket", (socket) => {
        if (new URL(socket.url()).host !== host) note(`foreign socket: ${socket.url()}`);
    });
    page.on("dialog", (dialog) => {
        note(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
    });
    if (!isBlank) await page.goto(`${url}${hash}`);
    return { page, context, trouble, allowed };
}

/** A session as the server lists it. */
export const listed = (session, more = {}) => ({
    session, live: true, source: "stream", began_unix_s: 1_700_000_000, duration_s: 1, seq: 1, speakers: 1, segments: 1,
    subscribers: 1, audio: { encoding: "pcm_s16le", sample_rate: 16000, channels: 1 }, ...more,
});

/**
 * A page whose server is this script: `listing` answers the list of sessions, `speak` each subscription; `prepare` comes
 * before the page.
 */
export async function openScripted(browser, url, hash, {
    listing = () => ({ json: { version: "1", model: "m", sessions: [listed("s")] } }), speak, prepare, ...more
}) {
    const opened = await open(browser, url, { ...more, isBlank: true });
    await opened.context.route("**/v1/sessions", async (route) => route.fulfill(await listing(route.request())));
    const sockets = [];
    if (speak) {
        await opened.context.routeWebSocket(/\/v1\/events/, (socket) => {
            sockets.push(socket);
            speak(socket, sockets.length);
        });
    }
    await prepare?.(opened.page);
    await opened.page.goto(`${url}${hash}`);
    return { ...opened, sockets };
}

/** Says a message as the script's server. */
export const say = (socket, message) => socket.send(JSON.stringify(message));

/** For a page before its scripts: `pullOut()` does what a browser does when the microphone is pulled out. */
export function pluggable() {
    const { mediaDevices } = navigator;
    const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => {
        globalThis.stream = await getUserMedia(wanted);
        return globalThis.stream;
    };
    globalThis.pullOut = () => {
        const [track] = globalThis.stream.getAudioTracks();
        track.stop();
        track.dispatchEvent(new Event("ended"));
    };
}

/** Waits until `ask` gives something true. */
export async function until(ask, what, patience = PATIENCE_MS) {
    const deadline = Date.now() + patience;
    let last;
    for (;;) {
        last = await ask();
        if (last) return last;
        if (Date.now() > deadline) assert.fail(`${what} did not come within ${patience / 1000} s`);
        await new Promise((resolve) => { setTimeout(resolve, 60); });
    }
}

/** A wire between a page and a daemon that can be cut. */
export class Wire {
    static async lay(port) {
        const wire = new Wire();
        wire.pairs = new Set();
        wire.isCut = false;
        wire.server = createServer((near) => {
            if (wire.isCut) {
                near.destroy();
                return;
            }
            const far = connect(port, "127.0.0.1");
            const pair = [near, far];
            wire.pairs.add(pair);
            const end = () => {
                wire.pairs.delete(pair);
                pair.forEach((socket) => socket.destroy());
            };
            for (const socket of pair) socket.on("error", end).on("close", end);
            near.pipe(far).pipe(near);
        });
        await new Promise((resolve) => { wire.server.listen(0, "127.0.0.1", resolve); });
        wire.url = `http://127.0.0.1:${wire.server.address().port}/`;
        return wire;
    }

    cut() {
        this.isCut = true;
        for (const pair of this.pairs) pair.forEach((socket) => socket.destroy());
    }

    mend() {
        this.isCut = false;
    }

    close() {
        this.cut();
        this.server.close();
    }
}

/** The samples of an audio file, decoded by the browser to 16 kHz mono. */
export async function samplesOf(page, file) {
    const encoded = await page.evaluate(async (base64) => {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        const buffer = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer);
        const pcm = Int16Array.from(buffer.getChannelData(0), (s) => Math.max(-32768, Math.min(32767, s * 32768)));
        const raw = new Uint8Array(pcm.buffer);
        let text = "";
        for (let i = 0; i < raw.length; i += 8192) text += String.fromCharCode(...raw.subarray(i, i + 8192));
        return btoa(text);
    }, readFileSync(file).toString("base64"));
    const bytes = Buffer.from(encoded, "base64");
    return new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

/** How many points of a canvas have exactly the colour that a speaker's bars have on light ground. */
export function pointsOf(page, selector, speaker) {
    const colour = [1, 3, 5].map((at) => Number.parseInt(lookOf(speaker).colour.light.slice(at, at + 2), 16));
    return page.evaluate(([selected, [red, green, blue]]) => {
        const canvas = document.querySelector(selected);
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        pen.drawImage(canvas, 0, 0);
        const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
        let n = 0;
        for (let i = 0; i < data.length; i += 4) {
            if (data[i] === red && data[i + 1] === green && data[i + 2] === blue) n += 1;
        }
        return n;
    }, [selector, colour]);
}

/** Writes 16 kHz mono samples as a WAV file. */
export function writeWav(path, pcm) {
    const head = Buffer.alloc(44);
    head.write("RIFF");
    head.writeUInt32LE(36 + pcm.byteLength, 4);
    head.write("WAVEfmt ", 8);
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(1, 20);
    head.writeUInt16LE(1, 22);
    head.writeUInt32LE(16000, 24);
    head.writeUInt32LE(32000, 28);
    head.writeUInt16LE(2, 32);
    head.writeUInt16LE(16, 34);
    head.write("data", 36);
    head.writeUInt32LE(pcm.byteLength, 40);
    writeFileSync(path, Buffer.concat([head, Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength)]));
}

/** What axe-core finds wrong with a page, one line each. */
export async function accessibilityFaults(page) {
    // The page's policy lets no script in from elsewhere; the debugger may add one all the same.
    await page.evaluate(AXE);
    const results = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return results.violations.flatMap((fault) => (
        fault.nodes.map((node) => `${fault.id}: ${fault.help}: ${node.target.join(" ")} ${node.failureSummary}`)
    ));
}
