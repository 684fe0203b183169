// Takes a photo: on a phone with its own camera app, elsewhere with the camera that the browser gives us.

const at = (id) => document.getElementById(id);
const QUALITY = 0.92; // of the JPEG

// `take` gets the file, `tell` a line for people where there is no photo.
export function listen(take, tell) {
  const dialog = at("camera"), view = at("view");
  let stream = null;

  let opening = false;

  async function open() {
    if (opening) return;
    const phone = matchMedia("(pointer: coarse)").matches;
    if (phone || !navigator.mediaDevices?.getUserMedia) { // browsers give a camera to secure pages alone
      at("shot").click();
      return;
    }
    opening = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } }, audio: false });
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      tell(refused ? "The browser was not allowed to use the camera." : "No camera was found.");
      return;
    } finally {
      opening = false;
    }
    view.srcObject = stream;
    dialog.showModal();
  }

  function snap() {
    if (!view.videoWidth) return; // it shows nothing yet
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    dialog.close();
    canvas.toBlob((blob) => {
      const moment = new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
      if (blob) take(new File([blob], `Photo ${moment}.jpg`, { type: "image/jpeg" }));
    }, "image/jpeg", QUALITY);
  }

  at("photograph").addEventListener("click", open);
  at("snap").addEventListener("click", snap);
  at("no-photo").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { // also by Escape
    stream?.getTracks().forEach((track) => track.stop());
    stream = view.srcObject = null;
  });
}
