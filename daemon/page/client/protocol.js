// The words of protocol version 1 and the shape of every message; docs/protocol.md is the truth, a test compares.

/** Events of a session: they carry `seq` and `at`. */
export const EVENT_TYPES = Object.freeze([
    "segment", "segment_removed", "revision", "speaker", "speaker_merged", "words", "title", "note", "correction", "gap",
    "warning",
    "ended",
]);

/** Messages of one connection: they carry neither. */
export const CONNECTION_TYPES = Object.freeze(["started", "ack", "stats", "lagged", "error"]);

/** Codes that the server closes a WebSocket with. */
export const CLOSE = Object.freeze({
    done: 1000,
    shuttingDown: 1001,
    restarting: 1012,
    badRequest: 4400,
    unauthorised: 4401,
    forbidden: 4403,
    notFound: 4404,
    idle: 4408,
    conflict: 4409,
    tooLarge: 4413,
    tooMany: 4429,
    internal: 4500,
});

// What a field holds: a JSON type, or a list of records of one kind; `?` marks what may be left out.
const RECORDS = Object.freeze({
    speakers: {
        id: "string", "name?": "string", "voice?": "string", "probability?": "number", first_s: "number",
        "total_s?": "number",
    },
    segments: {
        id: "number", start: "number", end: "number", "speech?": "object", speaker: "string", "name?": "string",
        confidence: "number", final: "boolean", "overlap?": "boolean", "snr_db?": "number", "c50_db?": "number",
    },
    words: {
        id: "number", start: "number", end: "number", text: "string", "confidence?": "number", final: "boolean",
        "speaker?": "string", "segment?": "number", "speaker_confidence?": "number",
    },
    gaps: { start: "number", end: "number", reason: "string" },
    notes: { id: "number", "segment?": "number", "text?": "string" },
    changes: { id: "number", from: "string", to: "string" },
});

const EVENT = { session: "string", seq: "number", at: "number" };

/** The fields of every message that the server sends. */
export const SERVER_SHAPES = Object.freeze({
    started: {
        session: "string", token: "string", model: "string", version: "string", audio: "object",
        "resume_grace_s?": "number", "audio_kept?": "boolean", "resumed?": "boolean", "received_s?": "number", "received_samples?": "number",
    },
    ack: { session: "string", received_s: "number", "finalized?": "boolean" },
    stats: {
        session: "string", lag_s: "number", rtf: "number", dropped_s: "number", heard_s: "number",
        level_dbfs: "number", speech: "boolean", "skipped_windows?": "number",
    },
    lagged: { session: "string", missed: "number" },
    error: { "session?": "string", code: "string", reason: "string", fatal: "boolean" },
    snapshot: {
        ...EVENT, live: "boolean", source: "string", "reason?": "string", "audio_kept?": "boolean", "title?": "string", "undo?": "object", "redo?": "object",
        "notes?": "notes",
        speakers: "speakers", segments: "segments", gaps: "gaps", "words?": "words",
    },
    segment: { ...EVENT, ...RECORDS.segments },
    segment_removed: { ...EVENT, id: "number" },
    revision: { ...EVENT, changes: "changes", reason: "string" },
    speaker: { ...EVENT, ...RECORDS.speakers },
    speaker_merged: { ...EVENT, from: "string", into: "string" },
    words: { ...EVENT, words: "words", "removed?": "object" },
    title: { ...EVENT, "title?": "string" },
    note: { ...EVENT, ...RECORDS.notes },
    correction: {
        ...EVENT, id: "number", kind: "string", "of?": "number", "by?": "string", unix_s: "number", "undo?": "object",
        "redo?": "object",
    },
    gap: { ...EVENT, ...RECORDS.gaps },
    warning: { ...EVENT, code: "string", reason: "string" },
    ended: { ...EVENT, duration_s: "number", speakers: "number", reason: "string" },
});

/** The fields of every message that a client may send. */
export const CLIENT_SHAPES = Object.freeze({
    start: {
        "session?": "string", "title?": "string", "audio?": "object", "speakers?": "object", "latency?": "string",
        "keep_audio?": "boolean", "asr?": "boolean", "resume?": "object",
    },
    keep_alive: {},
    finalize: {},
    gap: { duration_s: "number" },
    rename: { speaker: "string", name: "string" },
    merge: { from: "string", into: "string" },
    reassign: { segment: "number", speaker: "string" },
    split: { speaker: "string", "segments?": "object" },
    words: { words: "object", "final?": "boolean" },
    title: { title: "string" },
    note: { "id?": "number", "segment?": "number", text: "string" },
    undo: { "correction?": "number" },
    redo: { "correction?": "number" },
    close: {},
});

/** A message that is not of the protocol. */
export class ProtocolError extends Error {
    constructor(reason) {
        super(reason);
        this.name = "ProtocolError";
    }
}

function checkRecord(value, shape, where) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
        throw new ProtocolError(`${where} is not an object`);
    }
    for (const [key, kind] of Object.entries(shape)) {
        const name = key.replace("?", "");
        const field = value[name];
        if (field === undefined) {
            if (key !== name) continue;
            throw new ProtocolError(`${where}.${name} is missing`);
        }
        const items = RECORDS[kind];
        if (items) {
            if (!Array.isArray(field)) throw new ProtocolError(`${where}.${name} is not a list`);
            for (const item of field) checkRecord(item, items, `${where}.${name}[]`);
        } else if (typeof field !== kind || (kind === "object" && field === null)) {
            throw new ProtocolError(`${where}.${name} is not a ${kind}`);
        }
    }
}

/**
 * Reads one text frame of the server. Messages of a type that this version does not know, and unknown fields, pass.
 *
 * @param {string} text
 * @throws {ProtocolError} if the text is no JSON object with a `type`, or a known message lacks a field
 */
export function parse(text) {
    let message;
    try {
        message = JSON.parse(text);
    } catch {
        throw new ProtocolError("a text frame is not JSON");
    }
    if (typeof message?.type !== "string") throw new ProtocolError("a message has no type");
    const shape = Object.hasOwn(SERVER_SHAPES, message.type) ? SERVER_SHAPES[message.type] : undefined;
    if (shape) checkRecord(message, shape, message.type);
    return message;
}
