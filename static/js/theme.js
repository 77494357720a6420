// Runs before the first paint: marks that scripts run, and applies the stored theme.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  let stored = null;
  try {
    stored = localStorage.getItem("panelboard-theme");
  } catch {
    // storage may be forbidden; the system's theme holds then
  }
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
})();
