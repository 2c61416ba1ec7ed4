package player

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows/registry"
)

const appPaths = `SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\`

// usualPlaces are those that installers note in the registry, then the folders
// of installed and of portable programs.
func usualPlaces(k kind) []string {
	var places []string
	for _, name := range k.registry {
		for _, root := range []registry.Key{registry.CURRENT_USER, registry.LOCAL_MACHINE} {
			if path, ok := registered(root, appPaths+name); ok {
				places = append(places, path)
			}
		}
	}
	for _, variable := range []string{"ProgramFiles", "ProgramFiles(x86)", "ProgramW6432", "LOCALAPPDATA"} {
		dir := os.Getenv(variable)
		if dir == "" {
			continue
		}
		if variable == "LOCALAPPDATA" {
			dir = filepath.Join(dir, "Programs")
		}
		for _, program := range k.windows {
			places = append(places, filepath.Join(dir, program))
		}
	}
	return places
}

// registered reads a key's default value: the full path of the program.
func registered(root registry.Key, key string) (string, bool) {
	k, err := registry.OpenKey(root, key, registry.QUERY_VALUE)
	if err != nil {
		return "", false
	}
	defer k.Close()
	path, _, err := k.GetStringValue("")
	return path, err == nil && path != ""
}
