// What every page uses: theme switch, copying, and forms that apply themselves.

const THEMES = ["system", "light", "dark"];

function currentTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

function applyTheme(theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("panelboard-theme");
    else localStorage.setItem("panelboard-theme", theme);
  } catch {
    // without storage the choice lasts as long as the page
  }
  showTheme();
  document.dispatchEvent(new CustomEvent("panelboard:theme"));
}

function showTheme() {
  for (const label of document.querySelectorAll("[data-theme-label]")) {
    label.textContent = `Theme: ${currentTheme()}`;
  }
}

function nextTheme() {
  applyTheme(THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length]);
}

async function copyFrom(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source.value ?? source.textContent;
  const label = button.querySelector("[data-label]");
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
    label.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    label.textContent = before;
  }, 1600);
}

document.addEventListener("click", (event) => {
  const themeButton = event.target.closest("[data-theme-switch]");
  if (themeButton) nextTheme();
  const copyButton = event.target.closest("[data-copy]");
  if (copyButton) copyFrom(copyButton);
});

// A form marked so applies its choices at once; its button stays for those without a script.
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (!form?.hasAttribute("data-apply")) return;
  if (event.target.matches("select, input[type=checkbox], input[type=month]")) {
    form.requestSubmit();
  }
});

// Empty choices stay out of the address, so that it can be read and shared.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData.entries()]) {
    if (value === "") event.formData.delete(name);
  }
});

showTheme();
