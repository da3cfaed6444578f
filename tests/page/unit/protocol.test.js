// The client's words and shapes are those of docs/protocol.md.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import {
    CLIENT_SHAPES, CLOSE, CONNECTION_TYPES, EVENT_TYPES, ProtocolError, SERVER_SHAPES, SessionModel, parse,
} from "../../../daemon/page/client/index.js";
import { DOCUMENT, examples } from "./document.js";

const fields = (shape) => new Set(Object.keys(shape).map((key) => key.replace("?", "")));

for (const [side, shapes] of [["server", SERVER_SHAPES], ["client", CLIENT_SHAPES]]) {
    test(`every message of the ${side} in the document is known`, () => {
        const said = new Set(examples(side).map((line) => JSON.parse(line).type));
        assert.deepEqual([...said].filter((type) => !Object.hasOwn(shapes, type)), []);
        assert.ok(said.size > 7);
    });

    test(`every field of the ${side} in the document is known, and every one that is needed is in it`, () => {
        const said = new Map(Object.keys(shapes).map((type) => [type, new Set()]));
        for (const line of examples(side)) {
            const { type, ...rest } = JSON.parse(line);
            Object.keys(rest).forEach((key) => said.get(type)?.add(key));
        }
        for (const [type, shape] of Object.entries(shapes)) {
            const unknown = [...said.get(type)].filter((field) => !fields(shape).has(field));
            assert.deepEqual(unknown, [], `${type} has fields that the client does not know`);
            const needed = Object.keys(shape).filter((key) => !key.endsWith("?"));
            const missing = said.get(type).size === 0 ? [] : needed.filter((field) => !said.get(type).has(field));
            assert.deepEqual(missing, [], `${type} has no such fields`);
        }
    });
}

test("every example of the server is read", () => {
    for (const line of examples("server")) assert.deepEqual(parse(line), JSON.parse(line));
});

test("events have numbers and messages of the connection have none", () => {
    assert.deepEqual(
        [...EVENT_TYPES, ...CONNECTION_TYPES, "snapshot"].sort(),
        Object.keys(SERVER_SHAPES).sort(),
    );
    for (const line of examples("server")) {
        const message = JSON.parse(line);
        assert.equal("seq" in message, !CONNECTION_TYPES.includes(message.type), line);
    }
});

test("every example of an event can be applied where it fits", () => {
    for (const line of examples("server")) {
        const message = JSON.parse(line);
        if (!EVENT_TYPES.includes(message.type)) continue;
        const model = new SessionModel(message.session);
        const speaker = (id) => ({ id, first_s: 0, total_s: 0 });
        const segment = (id, speaker) => ({ id, start: 0, end: 1, speaker, confidence: 1, final: false });
        model.apply({
            type: "snapshot", session: message.session, seq: message.seq - 1, at: 0, live: true, source: "stream",
            speakers: [speaker("S1"), speaker("S3")], segments: [segment(3, "S1"), segment(5, "S3"), segment(7, "S3")],
            gaps: [], words: [{ id: 2, start: 0, end: 1, text: "well", final: false }],
        });
        assert.equal(model.apply(message), true, line);
    }
});

test("every close code of the document is known", () => {
    const rows = [...DOCUMENT.matchAll(/^\| (1\d{3}|4\d{3}) \|/gm)].map((row) => Number(row[1]));
    assert.deepEqual(rows.filter((code) => !Object.values(CLOSE).includes(code)), []);
    assert.ok(rows.length >= 9);
});

test("what is not of the protocol is refused with a reason", () => {
    const refused = [
        ["{", /not JSON/],
        ["null", /no type/],
        ['{"type":1}', /no type/],
        ['{"type":"ack","session":"s"}', /ack.received_s is missing/],
        ['{"type":"ack","session":"s","received_s":"1"}', /ack.received_s is not a number/],
        ['{"type":"revision","session":"s","seq":1,"at":0,"reason":"merge","changes":{}}', /changes is not a list/],
        ['{"type":"revision","session":"s","seq":1,"at":0,"reason":"merge","changes":[1]}', /not an object/],
    ];
    for (const [text, reason] of refused) {
        assert.throws(() => parse(text), (error) => error instanceof ProtocolError && reason.test(error.message), text);
    }
    assert.equal(parse('{"type":"constructor"}').type, "constructor");
    assert.equal(parse('{"type":"weather","sunny":true}').sunny, true);
});

test("the package holds the client, its types and nothing of the page", () => {
    const folder = new URL("../../../daemon/page/", import.meta.url);
    const listed = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
    const [pack] = Object.values(JSON.parse(listed));
    const paths = (pack.files ?? pack[0].files).map((file) => file.path).sort();
    assert.ok(paths.includes("client/index.js") && paths.includes("client/index.d.ts") && paths.includes("client/messages.d.ts") && paths.includes("README.md"));
    assert.deepEqual(paths.filter((path) => path.startsWith("app") || path.endsWith(".html")), []);
});
