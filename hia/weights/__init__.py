"""Weight files: finding them on this computer (`find`, without torch), and reading them safely (`load`)."""
