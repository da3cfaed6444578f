// Starts the real daemon, plays files into it, and opens pages in a real browser that watches for trouble.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ROOT = new URL("../../../", import.meta.url);
export const inRepository = (path) => fileURLToPath(new URL(path, ROOT));

export const BINARY = process.env.DIARIZED ?? inRepository("target/debug/diarized");
export const CONVERSATION = inRepository("tests/data/example/conversation.flac");
export const CHROMIUM = process.env.CHROMIUM
    ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** Longer than anything here takes on a busy machine: what waits this long hangs. */
export const PATIENCE_MS = 60_000;

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
    const note = (what) => {
        if (!allow(what)) trouble.push(what);
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
    return { page, context, trouble };
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
