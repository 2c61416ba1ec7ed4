package player

import (
	"os"
	"path/filepath"
)

// usualPlaces are the application folders, and Homebrew's and MacPorts' programs.
func usualPlaces(k kind) []string {
	apps := []string{"/Applications", "/Applications/Utilities"}
	if home, err := os.UserHomeDir(); err == nil {
		apps = append(apps, filepath.Join(home, "Applications"))
	}
	var places []string
	for _, dir := range apps {
		for _, program := range k.mac {
			places = append(places, filepath.Join(dir, program))
		}
	}
	for _, dir := range []string{"/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin"} {
		for _, program := range k.programs {
			places = append(places, filepath.Join(dir, program))
		}
	}
	return places
}
