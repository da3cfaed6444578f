// The colours of speakers: visible on their ground, and distinct with the common kinds of colour blindness.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { COLOURS, GROUNDS, PATTERNS, lookOf } from "../../../daemon/page/app/palette.js";

const linear = (hex) => [1, 3, 5]
    .map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));

// WCAG 2.2, contrast ratio.
function contrast(a, b) {
    const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
    const [x, y] = [luminance(linear(a)), luminance(linear(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
}

// Machado, Oliveira and Fernandes (2009), severity 1.
const SIGHT = {
    "full colour": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

function seen(hex, sight) {
    const rgb = linear(hex);
    const [r, g, b] = SIGHT[sight]
        .map((row) => row.reduce((sum, m, i) => sum + m * rgb[i], 0))
        .map((c) => Math.min(1, Math.max(0, c)));
    // Oklab (Ottosson 2020).
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return [
        0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    ];
}

for (const theme of ["light", "dark"]) {
    test(`every colour is seen on ${theme} ground`, () => {
        for (const colour of COLOURS) {
            const ratio = contrast(colour[theme], GROUNDS[theme]);
            assert.ok(ratio >= 3, `${colour[theme]}: ${ratio.toFixed(2)}`);
        }
    });

    test(`colours on ${theme} ground differ whatever the eye`, () => {
        for (const sight of Object.keys(SIGHT)) {
            const all = COLOURS.map((colour) => seen(colour[theme], sight));
            for (let i = 0; i < all.length; i += 1) {
                for (let j = 0; j < i; j += 1) {
                    const distance = Math.hypot(...all[i].map((c, k) => c - all[j][k]));
                    // A step of 0.02 in Oklab is just noticeable; the first four speakers get more.
                    const least = i < 4 ? 0.08 : 0.05;
                    const pair = `${COLOURS[j][theme]} and ${COLOURS[i][theme]}`;
                    assert.ok(distance >= least, `${pair} for ${sight}: ${distance.toFixed(3)}`);
                }
            }
        }
    });
}

test("sixty-four speakers have looks of their own, and neighbours share neither colour nor pattern", () => {
    const looks = Array.from({ length: 64 }, (_, i) => lookOf(`S${i + 1}`));
    assert.equal(new Set(looks.map((look) => look.key)).size, COLOURS.length * PATTERNS.length);
    looks.slice(1).forEach((look, i) => {
        assert.notEqual(look.colour, looks[i].colour);
        assert.notEqual(look.pattern, looks[i].pattern);
    });
    assert.deepEqual(lookOf("S1").pattern, "solid");
    assert.ok(lookOf("somebody").colour, "an odd label has a look, too");
});

test("the style sheet has the same fills", () => {
    const css = readFileSync(new URL("../../../daemon/page/style.css", import.meta.url), "utf8");
    const [light, dark] = css.split('[data-theme="dark"]');
    COLOURS.forEach((colour, idx) => {
        assert.ok(light.includes(`--c${idx}: ${colour.light};`), colour.light);
        assert.ok(dark.includes(`--c${idx}: ${colour.dark};`), colour.dark);
    });
});
