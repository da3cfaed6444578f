// Which part of the time is seen: a zoom and an edge that either follows the live end or stays where it was put.

/** Pixels a second at most. */
export const MAX_SCALE = 240;
const MIN_SPAN_S = 10;
/** Share of the width that is free right of the live end. */
const MARGIN = 0.06;

/** Pure; times in seconds, lengths in CSS pixels. */
export class Camera {
    constructor({ span = 60 } = {}) {
        this.width = 1;
        this.end = 0;
        this.isLive = true;
        this.right = 0;
        this.scale = 1;
        this.span = span;
    }

    /** The canvas is so wide; the span of time that is seen stays. */
    resize(width) {
        this.width = Math.max(1, width);
        this.scale = this.width / this.span;
    }

    /** The stream is so long. */
    follow(end) {
        this.end = end;
        if (this.isLive) this.right = end + this.span * MARGIN;
    }

    /** Time at the left edge. */
    get left() {
        return this.right - this.span;
    }

    x(time) {
        return (time - this.left) * this.scale;
    }

    time(x) {
        return this.left + x / this.scale;
    }

    /** Moves what is seen by pixels: positive shows later times. */
    pan(dx) {
        this.#put(this.right + dx / this.scale);
    }

    /** Zooms by a factor; the time under `x` stays there, but the live end stays live. */
    zoom(factor, x = this.width / 2) {
        const time = this.time(x);
        const longest = Math.max(MIN_SPAN_S, (this.end || MIN_SPAN_S) * (1 + 2 * MARGIN));
        const span = Math.min(Math.max(this.span / factor, this.width / MAX_SCALE), longest);
        this.span = span;
        this.scale = this.width / span;
        if (this.isLive) this.follow(this.end);
        else this.#put(time + (this.width - x) / this.scale);
    }

    /** Shows everything. */
    fit() {
        this.span = Math.max(MIN_SPAN_S, this.end * (1 + 2 * MARGIN));
        this.scale = this.width / this.span;
        this.isLive = true;
        this.follow(this.end);
    }

    /** Shows this time in the middle. */
    centre(time) {
        this.#put(time + this.span / 2);
    }

    /** Makes sure that a stretch is seen, moving no more than needed. */
    reveal(start, end) {
        const pad = this.span * MARGIN;
        if (start < this.left) this.#put(start - pad + this.span);
        else if (end > this.right) this.#put(end + pad);
    }

    /** Back to the live end. */
    toLive() {
        this.isLive = true;
        this.follow(this.end);
    }

    #put(right) {
        const latest = this.end + this.span * MARGIN;
        // Not further back than the beginning with its margin at the left edge.
        const earliest = Math.min(latest, this.span * (1 - MARGIN));
        this.isLive = right >= latest - 0.5 / this.scale;
        this.right = this.isLive ? latest : Math.max(right, earliest);
    }
}

const STEPS = [
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
];

/** Marks of the axis between two times, at least `spacing` pixels apart: `{time, isMajor}`. */
export function ticks(left, right, scale, spacing = 72) {
    const step = STEPS.find((s) => s * scale >= spacing) ?? STEPS.at(-1);
    const all = [];
    for (let i = Math.max(0, Math.ceil(left / step)); i * step <= right; i += 1) {
        all.push(Math.round(i * step * 10) / 10);
    }
    return { step, times: all };
}
