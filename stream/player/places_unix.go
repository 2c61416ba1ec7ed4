//go:build !windows && !darwin

package player

import (
	"os"
	"path/filepath"
)

// usualPlaces are those that a service's short PATH leaves out.
func usualPlaces(k kind) []string {
	dirs := []string{"/usr/local/bin", "/usr/bin", "/snap/bin", "/var/lib/flatpak/exports/bin"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".local", "bin"))
	}
	var places []string
	for _, dir := range dirs {
		for _, program := range k.programs {
			places = append(places, filepath.Join(dir, program))
		}
	}
	return places
}
