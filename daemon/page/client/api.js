// Plain HTTP of the server: the list of sessions, exports, deletion, health.

/** The server refused or could not be reached. */
export class ApiError extends Error {
    /**
     * @param {string} reason
     * @param {{status?: number, code?: string}} [details] no status: the server was not reached
     */
    constructor(reason, { status, code } = {}) {
        super(reason);
        this.name = "ApiError";
        this.status = status;
        this.code = code;
    }

    /** Whether a token is missing or not accepted. */
    get isUnauthorised() {
        return this.status === 401 || this.status === 403;
    }
}

const PATIENCE_MS = 10_000;
const AUDIO_PATIENCE_MS = 60_000;
/** Words in one message at most. */
const MAX_WORDS_SENT = 1000;

/** The server's plain HTTP side. */
export class Api {
    /**
     * @param {import("./address.js").Address} address
     * @param {typeof fetch} [fetch]
     */
    constructor(address, fetch = globalThis.fetch.bind(globalThis)) {
        this.address = address;
        this.fetch = fetch;
    }

    /** @throws {ApiError} */
    async request(path, { method = "GET", body, type, patience = PATIENCE_MS } = {}) {
        let response;
        try {
            response = await this.fetch(this.address.http(path), {
                method,
                body,
                headers: { ...this.address.headers(), ...(type ? { "Content-Type": type } : {}) },
                cache: "no-store",
                signal: AbortSignal.timeout(patience),
            });
        } catch (error) {
            throw new ApiError(error.name === "TimeoutError" ? "the server does not answer" : "the server is away");
        }
        if (response.ok) return response;
        let told;
        try {
            told = await response.json();
        } catch {
            // A proxy on the way answers in its own words.
        }
        const { status } = response;
        throw new ApiError(told?.reason ?? `${method} ${path}: ${status}`, { status, code: told?.code });
    }

    /** What runs and what has ended, with the server's version and voice model. */
    async sessions() {
        return (await this.request("v1/sessions")).json();
    }

    /** The labels of a session as a snapshot. */
    async snapshot(id) {
        return (await this.request(`v1/sessions/${encodeURIComponent(id)}`)).json();
    }

    /** The labels as a file: `json`, `rttm`, `srt`, `vtt`, `md`, `csv`, or `txt`, the transcript. */
    async exported(id, format) {
        return (await this.request(`v1/sessions/${encodeURIComponent(id)}.${format}`)).blob();
    }

    /**
     * The kept audio as a file, `audio/ogg`, or the part from `start` to `end` in seconds on the session's clock.
     *
     * @param {string} id
     * @param {{start?: number, end?: number}} [part] at most an hour
     * @throws {ApiError} 404: none is kept; 416: it ends before `start`
     */
    async audio(id, { start, end } = {}) {
        const query = new URLSearchParams();
        if (start !== undefined) query.set("start", String(start));
        if (end !== undefined) query.set("end", String(end));
        const path = `v1/sessions/${encodeURIComponent(id)}/audio`;
        return (await this.request(query.size > 0 ? `${path}?${query}` : path, { patience: AUDIO_PATIENCE_MS })).blob();
    }

    /**
     * Adds recognised words to a session; as many messages as it takes.
     *
     * @param {string} id
     * @param {import("./index.js").NewWord[]} words seconds on the session's clock
     * @param {{final?: boolean}} [options] provisional words are replaced by the next ones
     * @throws {ApiError}
     */
    async words(id, words, { final = true } = {}) {
        const path = `v1/sessions/${encodeURIComponent(id)}/words`;
        for (let n = 0; n === 0 || n < words.length; n += MAX_WORDS_SENT) {
            const body = JSON.stringify({ words: words.slice(n, n + MAX_WORDS_SENT), final });
            await this.request(path, { method: "POST", body, type: "application/json" });
        }
    }

    /**
     * Makes a correction, of a running session or an ended one.
     *
     * @param {string} id
     * @param {{type: string}} message as a subscriber would send it, such as `{type: "title", title: "Weekly"}`
     * @throws {ApiError}
     */
    async correct(id, { type, ...fields }) {
        const path = `v1/sessions/${encodeURIComponent(id)}/${type}`;
        await this.request(path, { method: "POST", body: JSON.stringify(fields), type: "application/json" });
    }

    /** Who corrected what and when, the oldest first: `{id, kind, of, by, unix_s}`. */
    async corrections(id) {
        return (await (await this.request(`v1/sessions/${encodeURIComponent(id)}/corrections`)).json()).corrections;
    }

    /** Ends a running session; forgets an ended one. */
    async delete(id) {
        await this.request(`v1/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
    }

    /** Everybody who is enrolled; `undefined` where the server knows nobody by voice. */
    async voices() {
        try {
            return (await (await this.request("v1/speakers")).json()).speakers;
        } catch (error) {
            if (error.status === 404) return undefined;
            throw error;
        }
    }

    /** Enrols a speaker of a session: `{name, consent, session, speaker}`. */
    async enrol(voice) {
        const patience = 60_000;
        const body = JSON.stringify(voice);
        return (await this.request("v1/speakers", { method: "POST", body, type: "application/json", patience })).json();
    }

    /** Deletes an enrolled voice for good. */
    async forget(id) {
        await this.request(`v1/speakers/${encodeURIComponent(id)}`, { method: "DELETE" });
    }

    /** Milliseconds that a round trip takes. */
    async ping() {
        const began = performance.now();
        await this.request("healthz", { patience: 5000 });
        return performance.now() - began;
    }
}
