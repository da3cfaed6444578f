// The messages of the protocol, as docs/protocol.md describes them.

export type Encoding = "pcm_s16le" | "pcm_f32le" | "mulaw";
export type EndReason =
    | "closed" | "disconnected" | "idle" | "bad_request" | "deleted" | "source_ended" | "shutdown" | "failed"
    | "interrupted" | "quota_exceeded";
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
        asr?: boolean;
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
