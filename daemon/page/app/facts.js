// A list of facts: names with their values.

import { h, text } from "./dom.js";
import { t } from "./texts/index.js";

/** `names` has the text of each fact's name by its key; `update` gets the values by the same keys. */
export function factList(names) {
    const pairs = Object.entries(names).map(([key, name]) => ({ key, name, parts: [h("dt", {}), h("dd", {})] }));
    return {
        element: h("dl", { class: "facts" }, ...pairs.map(({ parts }) => h("div", {}, ...parts))),
        update(values) {
            for (const { key, name, parts: [term, value] } of pairs) {
                text(term, t(name));
                text(value, values[key]);
            }
        },
    };
}
