"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(hover: none)");

  // A figure names colours as CSS variables; plotly wants their values.
  const resolved = (value, style) => {
    if (typeof value === "string") {
      return value.replace(/^var\((--[\w-]+)\)$/, (_, name) => style.getPropertyValue(name).trim());
    }
    if (Array.isArray(value)) return value.map((item) => resolved(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolved(v, style)]));
    }
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = resolved(figure, style);
      layout.font.family = getComputedStyle(document.body).fontFamily;
      layout.dragmode = touch.matches ? false : "zoom";
      Plotly.react(id, data, layout, {
        displaylogo: false,
        displayModeBar: touch.matches ? false : "hover",
        modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
      });
    }
  };
  draw();
  const resized = new ResizeObserver((entries) => {
    for (const entry of entries) Plotly.Plots.resize(entry.target);
  });
  for (const id of Object.keys(figures)) resized.observe(document.getElementById(id));
  dark.addEventListener("change", draw);

  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text);
    return { text, number, missing: text === "", numeric: text !== "" && !Number.isNaN(number) };
  };
  const compare = (a, b, sign) => {
    if (a.missing || b.missing) return a.missing - b.missing; // unknown last, either way
    if (a.numeric && b.numeric) return sign * (a.number - b.number);
    return sign * a.text.localeCompare(b.text);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => {
        const ascending = header.getAttribute("aria-sort") !== "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        const sign = ascending ? 1 : -1;
        rows.sort((a, b) => compare(key(a, column), key(b, column), sign));
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
