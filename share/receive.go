package share

import (
	"net/http"

	"github.com/causeway-bt/causeway/web"
)

// Receiver takes files.
type Receiver struct{}

func (r *Receiver) describe() *web.Receive { return nil }
func (r *Receiver) serve(w http.ResponseWriter, _ *http.Request, _ string) { http.Error(w, "", 404) }
