package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/causeway-bt/causeway/client"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: `  causeway version`,
		Args:    arguments(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			a.printVersion()
			return nil
		},
	}
}

func (a *app) printVersion() {
	version := versionEvent{client.Version, revision(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	a.event("version", version)
	text := "causeway " + version.Version
	if version.Revision != "" {
		text += " (" + version.Revision + ")"
	}
	a.result(fmt.Sprintf("%s, %s, %s", text, version.Go, version.Platform))
}

type versionEvent struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// revision is the commit that the program was built from, if that is known.
func revision() string {
	const enough = 12 // digits
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value[:min(len(setting.Value), enough)]
		}
	}
	return ""
}
