// The client's words and shapes are those of docs/protocol.md.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
    CLIENT_SHAPES, CLOSE, CONNECTION_TYPES, EVENT_TYPES, ProtocolError, SERVER_SHAPES, SessionModel, parse,
} from "../../../daemon/page/client/index.js";
import { DOCUMENT, examples } from "./document.js";

const fields = (shape) => new Set(Object.keys(shape).map((key) => key.replace("?", "")));

for (const [side, shapes] of [["server", SERVER_SHAPES], ["client", CLIENT_SHAPES]]) {
    test(`every message of the ${side} in the document is known, and no other`, () => {
        const said = new Set(examples(side).map((line) => JSON.parse(line).type));
        assert.deepEqual([...said].sort(), Object.keys(shapes).sort());
    });

    test(`every field of the ${side} in the document is known, and no other`, () => {
        const said = new Map(Object.keys(shapes).map((type) => [type, new Set()]));
        for (const line of examples(side)) {
            const { type, ...rest } = JSON.parse(line);
            Object.keys(rest).forEach((key) => said.get(type).add(key));
        }
        for (const [type, shape] of Object.entries(shapes)) {
            const known = fields(shape);
            // `total_s` of a speaker and the like are documented where they are sent: in snapshots.
            if (type === "speaker") known.delete("total_s");
            assert.deepEqual([...said.get(type)].sort(), [...known].sort(), type);
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
            gaps: [],
        });
        assert.equal(model.apply(message), true, line);
    }
});

test("every close code is in the document, and no other", () => {
    const rows = [...DOCUMENT.matchAll(/^\| (1\d{3}|4\d{3}) \|/gm)].map((row) => Number(row[1]));
    // 4401 is the client's to know, whether or not this server asks for a token.
    const known = Object.values(CLOSE).filter((code) => code !== CLOSE.unauthorised || rows.includes(code));
    assert.deepEqual(known.sort(), rows.sort());
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
