// Types of the package. Messages are those of docs/protocol.md, version 1.

export type Encoding = "pcm_s16le" | "pcm_f32le" | "mulaw";
export type EndReason =
    | "closed" | "disconnected" | "idle" | "bad_request" | "deleted" | "source_ended" | "shutdown" | "failed"
    | "interrupted";
export type RevisionReason = "merge" | "split" | "reassign" | "final_pass" | "correction";
export type GapReason = "overrun" | "device_lost" | "declared" | "disconnected";
export type ExportFormat = "json" | "rttm" | "srt" | "vtt" | "txt" | "md" | "csv";

export interface AudioFormat {
    encoding?: Encoding;
    sample_rate?: number;
    channels?: number;
    channel?: number;
}

/** Times and lengths are seconds from the start of the stream. */
export interface Speaker {
    id: string;
    name?: string;
    /** The enrolled person whose voice it is, the same in all sessions, and how sure that is, 0 to 1. */
    voice?: string;
    probability?: number;
    first_s: number;
    total_s?: number;
}

export interface Segment {
    id: number;
    start: number;
    end: number;
    /** Starts and ends of the speech inside, in order; missing where there is no pause. */
    speech?: [number, number][];
    speaker: string;
    name?: string;
    confidence: number;
    final: boolean;
    overlap?: boolean;
    snr_db?: number;
    c50_db?: number;
}

/** A word as a recogniser gives it. */
export interface NewWord {
    start: number;
    end: number;
    text: string;
    /** Probability that the word is right, 0 to 1. */
    confidence?: number;
}

/** A recognised word and its speaker, where a segment lies there; the last three fields come together. */
export interface Word extends NewWord {
    id: number;
    final: boolean;
    speaker?: string;
    segment?: number;
    /** Probability that it is that speaker's word, 0 to 1. */
    speaker_confidence?: number;
}

export interface Gap {
    start: number;
    end: number;
    reason: GapReason;
}

export interface Change {
    id: number;
    from: string;
    to: string;
}

interface OfSession {
    session: string;
}

interface Numbered extends OfSession {
    seq: number;
    at: number;
}

export interface StartedMessage extends OfSession {
    type: "started";
    token: string;
    model: string;
    version: string;
    audio: AudioFormat;
    resume_grace_s?: number;
    audio_kept?: boolean;
    resumed?: boolean;
    received_s?: number;
    received_samples?: number;
}
export interface AckMessage extends OfSession {
    type: "ack";
    received_s: number;
    finalized?: boolean;
}
export interface StatsMessage extends OfSession {
    type: "stats";
    lag_s: number;
    rtf: number;
    dropped_s: number;
    heard_s: number;
    level_dbfs: number;
    speech: boolean;
    skipped_windows?: number;
}
export interface LaggedMessage extends OfSession {
    type: "lagged";
    missed: number;
}
export interface ErrorMessage {
    type: "error";
    session?: string;
    code: string;
    reason: string;
    fatal: boolean;
}
export interface SnapshotMessage extends Numbered {
    type: "snapshot";
    live: boolean;
    source: string;
    reason?: EndReason;
    audio_kept?: boolean;
    title?: string;
    undo?: Correctable;
    redo?: Correctable;
    notes?: Note[];
    speakers: Speaker[];
    segments: Segment[];
    gaps: Gap[];
    words?: Word[];
}
export interface SegmentMessage extends Numbered, Segment {
    type: "segment";
}
export interface SegmentRemovedMessage extends Numbered {
    type: "segment_removed";
    id: number;
}
export interface RevisionMessage extends Numbered {
    type: "revision";
    changes: Change[];
    reason: RevisionReason;
}
export interface SpeakerMessage extends Numbered, Speaker {
    type: "speaker";
}
export interface SpeakerMergedMessage extends Numbered {
    type: "speaker_merged";
    from: string;
    into: string;
}
export interface WordsMessage extends Numbered {
    type: "words";
    words: Word[];
    removed?: number[];
}
/** A note on the session or on one of its segments; an event without `text` removes it. */
export interface Note {
    id: number;
    segment?: number;
    text?: string;
}
/** A correction that can be undone or made again. */
export interface Correctable {
    id: number;
    kind: string;
}
export interface NoteMessage extends Numbered, Note {
    type: "note";
}
/** A person has corrected something; the events before this one are what changed. */
export interface CorrectionMessage extends Numbered {
    type: "correction";
    id: number;
    kind: string;
    of?: number;
    by?: string;
    unix_s: number;
    undo?: Correctable;
    redo?: Correctable;
}
/** The session has another title, or none. */
export interface TitleMessage extends Numbered {
    type: "title";
    title?: string;
}
export interface GapMessage extends Numbered, Gap {
    type: "gap";
}
export interface WarningMessage extends Numbered {
    type: "warning";
    code: string;
    reason: string;
}
export interface EndedMessage extends Numbered {
    type: "ended";
    duration_s: number;
    speakers: number;
    reason: EndReason;
}

export type EventMessage =
    | SegmentMessage | SegmentRemovedMessage | RevisionMessage | SpeakerMessage | SpeakerMergedMessage | WordsMessage
    | TitleMessage | NoteMessage | CorrectionMessage | GapMessage | WarningMessage | EndedMessage;
export type ConnectionMessage = StartedMessage | AckMessage | StatsMessage | LaggedMessage | ErrorMessage;
export type ServerMessage = EventMessage | ConnectionMessage | SnapshotMessage;

export type ClientMessage =
    | {
        type: "start"; session?: string; title?: string; audio?: AudioFormat; speakers?: { expected?: number; max?: number };
        latency?: "low" | "normal" | "high";
        keep_audio?: boolean;
        resume?: { session: string; token: string; received_s?: number; since?: number };
    }
    | { type: "keep_alive" }
    | { type: "finalize" }
    | { type: "gap"; duration_s: number }
    | { type: "title"; title: string }
    | { type: "note"; id?: number; segment?: number; text: string }
    | { type: "undo" | "redo"; correction?: number }
    | { type: "rename"; speaker: string; name: string }
    | { type: "merge"; from: string; into: string }
    | { type: "reassign"; segment: number; speaker: string }
    | { type: "split"; speaker: string; segments?: number[] }
    | { type: "words"; words: NewWord[]; final?: boolean }
    | { type: "close" };

export const EVENT_TYPES: readonly EventMessage["type"][];
export const CONNECTION_TYPES: readonly ConnectionMessage["type"][];
export const CLOSE: Readonly<Record<
    "done" | "shuttingDown" | "restarting" | "badRequest" | "unauthorised" | "forbidden" | "notFound" | "idle" | "conflict" | "tooLarge"
    | "tooMany" | "internal",
    number
>>;
export const SERVER_SHAPES: Readonly<Record<ServerMessage["type"], Readonly<Record<string, string>>>>;
export const CLIENT_SHAPES: Readonly<Record<ClientMessage["type"], Readonly<Record<string, string>>>>;

export class ProtocolError extends Error {}
/** Reads one text frame; messages of an unknown type pass, so check `type` before trusting the rest. */
export function parse(text: string): ServerMessage;

/** Whether a text can be a token: letters, digits and a few signs, no spaces. */
export function isToken(text: string): boolean;

export class Address {
    constructor(base: string | URL, token?: string);
    readonly base: URL;
    token: string | undefined;
    http(path: string): string;
    socket(path: string, parameters: Record<string, string | number | undefined>): string;
    headers(): Record<string, string>;
    protocols(): string[];
}

export class OutOfStep extends Error {}

export class SessionModel {
    constructor(id: string);
    readonly id: string;
    readonly seq: number;
    readonly at: number;
    readonly live: boolean;
    readonly source: string;
    readonly reason: EndReason | undefined;
    /** Whether audio of the session is kept. */
    readonly audioKept: boolean;
    readonly title: string | undefined;
    readonly notes: ReadonlyMap<number, Note>;
    readonly undo: Correctable | undefined;
    readonly redo: Correctable | undefined;
    readonly speakers: ReadonlyMap<string, Speaker>;
    readonly segments: ReadonlyMap<number, Segment>;
    readonly gaps: readonly Gap[];
    readonly words: ReadonlyMap<number, Word>;
    readonly warnings: readonly { at: number; code: string; reason: string }[];
    readonly stats: StatsMessage | undefined;
    /** Where the speakers went that are no more. */
    readonly mergedInto: ReadonlyMap<string, string>;
    readonly version: number;
    readonly heard: number;
    subscribe(listener: (message: ServerMessage, moved: readonly Change[]) => void): () => void;
    apply(message: ServerMessage): boolean;
    nameOf(speaker: string): string;
    /** Words of a segment, in the order of their starts; of `undefined` those without a speaker. */
    wordsOf(segment: number | undefined): Word[];
    /** What is said in a segment, as text; empty without words. */
    textOf(segment: number): string;
    toSnapshot(): SnapshotMessage;
}
export function numberOf(label: string): number;

export class Words {
    constructor(words?: Iterable<Word>);
    readonly byId: ReadonlyMap<number, Word>;
    set(word: Word): void;
    delete(id: number): void;
    of(segment: number | undefined): Word[];
}
/** Joins words by spaces, where their script has them. */
export function joined(words: Iterable<{ text: string }>): string;

export interface Turn {
    speaker: string;
    start: number;
    end: number;
    speech_s: number;
}
export interface Talk {
    id: string;
    name?: string;
    first_s: number;
    last_s: number;
    total_s: number;
    share: number;
    turns: number;
    longest_s: number;
}
export const MAX_PAUSE_S: number;
export const HOLD_S: number;
export function ordered(segments: Iterable<Segment>): Segment[];
export function turns(segments: Iterable<Segment>, maxPause?: number): Turn[];
export function talk(model: SessionModel): Talk[];
export function speakingAt(
    model: SessionModel, position: number, hold?: number,
): { segments: Segment[]; overlap: boolean };

export class LiveClock {
    readonly position: number;
    reset(): void;
    hear(position: number, nowMs: number): void;
    tick(nowMs: number): number;
}

export class Backoff {
    constructor(options?: { firstMs?: number; maxMs?: number; random?: () => number });
    next(): number;
    reset(): void;
}

export type SubscriptionState =
    | { kind: "connecting" | "open" | "stopped" }
    | { kind: "waiting"; retryInMs: number; reason?: string }
    | { kind: "ended" | "gone" | "unauthorised" | "refused"; code: number; reason?: string };

export class Subscription {
    constructor(address: Address, model: SessionModel, options?: {
        onState?: (state: SubscriptionState) => void;
        onMessage?: (message: ServerMessage) => void;
        identify?: () => Promise<unknown>;
        /** The end of the session is not the end: corrections that come later follow. */
        stays?: boolean;
        WebSocket?: unknown;
        backoff?: Backoff;
    });
    readonly state: SubscriptionState;
    readonly reconnects: number;
    start(): this;
    stop(): void;
    retryNow(): void;
    reconnect(): void;
    send(message: ClientMessage): boolean;
}

export class PublishError extends Error {
    readonly code?: string;
    readonly close?: number;
}

export class Publisher {
    constructor(address: Address, options?: {
        session?: string;
        title?: string;
        /** False: the server may not keep the audio. */
        keepAudio?: boolean;
        expectedSpeakers?: number;
        sampleRate?: number;
        onMessage?: (message: ServerMessage) => void;
        onBreak?: (error: PublishError) => void;
        onState?: (state: "open" | "resuming") => void;
        backoff?: Backoff;
        WebSocket?: unknown;
    });
    readonly session: string | undefined;
    readonly sampleRate: number;
    readonly sent_s: number;
    readonly received_s: number;
    readonly buffered: number;
    open(): Promise<StartedMessage>;
    /** Takes a session up that another publisher left; what was not heard meanwhile is declared as a gap. */
    takeUp(left: { session: string; token: string; gap_s?: number }): Promise<StartedMessage>;
    /** Goes without ending the session: it waits for whoever takes it up. */
    leave(): void;
    send(samples: Int16Array): void;
    keepAlive(): void;
    /** Declares that audio is missing here. */
    gap(seconds: number): void;
    /** Sends recognised words, at most a thousand; false without a connection. */
    words(words: NewWord[], options?: { final?: boolean }): boolean;
    finish(): Promise<EndedMessage | undefined>;
}

export interface ListedSession {
    session: string;
    title?: string;
    live: boolean;
    source: string;
    began_unix_s: number;
    duration_s: number;
    seq: number;
    speakers: number;
    segments: number;
    subscribers: number;
    audio: AudioFormat;
    audio_kept?: boolean;
    reason?: EndReason;
}

/** A person whom the server knows by voice. */
export interface Voice {
    id: string;
    name: string;
    consent?: string;
    recordings: number;
    speech_s: number;
    recognisable: boolean;
    created_unix_s: number;
    changed_unix_s: number;
}

export class ApiError extends Error {
    readonly status?: number;
    readonly code?: string;
    readonly isUnauthorised: boolean;
}

export class Api {
    constructor(address: Address, fetch?: typeof globalThis.fetch);
    sessions(): Promise<{ version: string; model: string; voices?: boolean; keeps_audio?: boolean; sessions: ListedSession[] }>;
    snapshot(id: string): Promise<SnapshotMessage>;
    exported(id: string, format: ExportFormat): Promise<Blob>;
    /** The kept audio as an Ogg Opus file, or a part of it in seconds on the session's clock, at most an hour. */
    audio(id: string, part?: { start?: number; end?: number }): Promise<Blob>;
    /** Adds recognised words; provisional ones are replaced by the next. */
    words(id: string, words: NewWord[], options?: { final?: boolean }): Promise<void>;
    /** Makes a correction, of a running session or an ended one. */
    correct(id: string, message: Extract<ClientMessage, {
        type: "rename" | "merge" | "reassign" | "split" | "title" | "note" | "undo" | "redo";
    }>): Promise<void>;
    /** Who corrected what and when, the oldest first. */
    corrections(id: string): Promise<{ id: number; kind: string; of?: number; by?: string; unix_s: number }[]>;
    delete(id: string): Promise<void>;
    /** Everybody who is enrolled; `undefined` where the server knows nobody by voice. */
    voices(): Promise<Voice[] | undefined>;
    /** `force` insists that a voice which sounds like a known one (409, `conflict`) is another person's. */
    enrol(voice: { name: string; consent?: string; session: string; speaker: string; force?: boolean }): Promise<Voice>;
    forget(id: string): Promise<void>;
    ping(): Promise<number>;
}
