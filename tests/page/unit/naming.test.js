// What a person types, or a file is called, gives a title that the server takes, and an id where it can be one.

import assert from "node:assert/strict";
import { test } from "node:test";

import { naming } from "../../../daemon/page/app/audio/listening.js";

test("a text is a title, and an id too where it can be one", () => {
    assert.deepEqual(naming("kitchen"), { title: "kitchen", session: "kitchen" });
    assert.deepEqual(naming("  Weekly <b>3</b> "), { title: "Weekly <b>3</b>", session: undefined });
    assert.deepEqual(naming(" "), { title: undefined, session: undefined });
});

test("what no title may hold is left out, and what is too long cut off", () => {
    assert.equal(naming("a\u202eb\u0007c\u2028d").title, "abcd");
    assert.equal(naming("é".repeat(10_000)).title, "é".repeat(200));
    assert.equal([...naming("🎙".repeat(300)).title].length, 200);
});
