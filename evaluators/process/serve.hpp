#pragma once
// The other end of the evaluator protocol: an Evaluator of ours as a program of its own that reads
// requests from one stream and writes replies to another.

#include <functional>
#include <string>

#include "evaluators/evaluator.hpp"

namespace paretod {

/// The first line: what the evaluator declares of itself, under this name; with its end.
std::string hello_line(const EvaluatorDescription& description, const std::string& name);

/// Serves requests from `input` (a file descriptor) until it ends, answering through `write`, which
/// gets whole lines, one at a time.  The evaluator has to declare its space and objectives.
/// Requests that cannot be read are answered as failed; lines that are no requests are ignored.
/// When input has ended, cancels what is open and returns once it is answered.
void serve_requests(Evaluator& evaluator, int input,
                    const std::function<void(const std::string& line)>& write);

/// The whole program: stdin and stdout are the protocol's, what else writes to stdout goes to
/// stderr.
void serve_process(Evaluator& evaluator, const std::string& name);

}  // namespace paretod
