// Types of the package. Messages are those of docs/protocol.md, version 1.

import type {
    AudioFormat, Change, ClientMessage, ConnectionMessage, Correctable, EndReason, EndedMessage, EventMessage,
    ExportFormat, Gap, NewWord, Note, Segment, ServerMessage, SnapshotMessage, Speaker, StartedMessage,
    StatsMessage, Word,
} from "./messages.js";

export type * from "./messages.js";

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
    /** The words of a segment, as text; empty without words. */
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
        asr?: boolean;
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
    /** Takes a session up that another publisher left; the audio that is missing meanwhile is declared as a gap. */
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
    /** The node where it runs, in a cluster. */
    node?: string;
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
