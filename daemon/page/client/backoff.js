// How long to wait before the next try to connect.

/** Delays that double from `firstMs` to `maxMs`, each shortened at random by up to half so that clients spread. */
export class Backoff {
    constructor({ firstMs = 250, maxMs = 8000, random = Math.random } = {}) {
        this.firstMs = firstMs;
        this.maxMs = maxMs;
        this.random = random;
        this.tries = 0;
    }

    /** The next delay in milliseconds. */
    next() {
        const whole = Math.min(this.maxMs, this.firstMs * 2 ** Math.min(this.tries, 30));
        this.tries += 1;
        return Math.round(whole * (1 - this.random() / 2));
    }

    /** A connection was made: the next failure starts over. */
    reset() {
        this.tries = 0;
    }
}
