// Draws the figures of a page. The library is fetched when the first chart comes near the view.

const LIBRARY = document.querySelector("script[data-plotly]").dataset.plotly;
let library = null;

function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const tag = document.createElement("script");
    tag.src = LIBRARY;
    tag.addEventListener("load", () => resolve(window.Plotly));
    tag.addEventListener("error", () => reject(new Error("the chart library did not load")));
    document.head.append(tag);
  });
  return library;
}

// A figure names colours by role ("var(--series-0)"); they are resolved for the theme in force.
function resolveColours(value, probe) {
  if (typeof value === "string" && value.startsWith("var(")) {
    probe.style.color = value;
    return getComputedStyle(probe).color;
  }
  if (Array.isArray(value)) return value.map((item) => resolveColours(item, probe));
  if (value && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, resolveColours(item, probe)]),
    );
  }
  return value;
}

async function draw(box) {
  const source = document.getElementById(box.dataset.chart);
  const figure = JSON.parse(source.textContent);
  try {
    const Plotly = await loadLibrary();
    const { data, layout } = resolveColours(figure, box);
    layout.font.family = getComputedStyle(document.body).fontFamily;
    await Plotly.react(box, data, layout, {
      responsive: true,
      displayModeBar: false,
      scrollZoom: false,
    });
    box.dataset.drawn = "yes";
  } catch (error) {
    box.querySelector(".chart-wait").textContent = `${error.message}; the table below has the figures.`;
  }
}

const boxes = [...document.querySelectorAll("[data-chart]")];
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  },
  { rootMargin: "400px" },
);
boxes.forEach((box) => near.observe(box));

function redraw() {
  boxes.filter((box) => box.dataset.drawn).forEach(draw);
}
document.addEventListener("panelboard:theme", redraw);
for (const query of ["(prefers-color-scheme: dark)", "print"]) {
  matchMedia(query).addEventListener("change", redraw);
}
