// State of a recording tab that survives a reload: the session, its secret, and the time of its last sign of life.

const KEY = "diarized.recording";

/** Remembers what this publisher sends, for this tab alone. */
export function remember({ session, token, sampleRate, graceMs }) {
    const record = { session, token, sampleRate, until: Date.now() + graceMs, at: Date.now() };
    try {
        sessionStorage.setItem(KEY, JSON.stringify(record));
    } catch {
        // A browser that stores nothing forgets it.
    }
}

/** Forgets it: the recording is over. */
export function forget() {
    try {
        sessionStorage.removeItem(KEY);
    } catch {
        // There is nothing to forget.
    }
}

/**
 * What this tab recorded before it was loaded again, as long as the session waits for it. A copy of the tab gets nothing:
 * the recording is not its own.
 */
export function left() {
    const isAgain = performance.getEntriesByType("navigation")[0]?.type === "reload";
    let record;
    try {
        record = JSON.parse(sessionStorage.getItem(KEY));
    } catch {
        return undefined;
    }
    forget();
    return isAgain && record && Date.now() < record.until ? record : undefined;
}
