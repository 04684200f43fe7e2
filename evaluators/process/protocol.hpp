#pragma once
// Evaluator protocol, version 1 (DESIGN 6): one JSON object per line.  This codec knows lines and
// values, nothing of processes or sockets; everything that speaks the protocol uses it.  Pure
// functions; any thread.
//
//   <- {"paretod":1,"type":"hello","evaluator":"digits","slots":2,
//       "objectives":[{"name":"fd","goal":"minimize"}],"space":[..],"metrics":["mmd"],
//       "fidelity":{"unit":"images","default":1000},"version":"weights 7",
//       "paid":true,"resumable":false,"currency":"USD",
//       "worst_case":{"seconds":60,"tokens":4000,"money_micros":9000},
//       "params":{"steps":{"type":"integer","default":10,"minimum":1,"description":".."}}}
//   -> {"type":"evaluate","id":"job:17:1","candidate":{"x":0.5},"fidelity":1000,"replicate":0,
//       "seed":1,"params":{"steps":10},"deadline_s":600,
//       "weights":"/dev/shm/..../model.safetensors"}           with merged models only: a file that
//                                   exists until the request is answered
//   <- {"type":"progress","id":"job:17:1","done":0.4,"partial":{"fd":31.2},
//       "examples":{"acc":[1,0,1]}}                             all values so far, in order
//   <- {"type":"result","id":"job:17:1","objectives":{"fd":{"value":28.9,"stderr":0.3,"n":1000}},
//       "constraints":[-0.2],"metrics":{"mmd":0.1},"examples":{"acc":[1,0,1]},
//       "cost":{"seconds":1.5,"tokens":900,"money_micros":1200}}
//                                   a plain number stands for {"value": number}; a constraint is
//                                   satisfied when it is not greater than 0; money is in
//                                   millionths of the currency
//   <- {"type":"error","id":"job:17:1","kind":"infeasible|transient|fatal|failed|unknown",
//       "message":"..","cost":{..}} infeasible is a result; transient is retried; a second fatal
//                                   ends the trial; failed ends it at once; unknown too: something
//                                   was paid for, and nobody knows what came of it
//   -> {"type":"cancel","id":"job:17:1"}
//
// Of hello only paretod and type are required.  Unknown fields of hello are refused, those of
// other messages ignored.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "evaluators/evaluator.hpp"
#include "evaluators/process/message_values.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// Bytes of one line from an evaluator, without its end.
inline constexpr std::size_t longest_line = 1 << 20;

struct Hello {
  /// Its `type` is left empty, `summary` is the name the evaluator gave, `slots` those of one
  /// process.
  EvaluatorDescription description;
  /// Equal for equal declarations.
  std::string canonical;
};

/// Problems point into the line.
Result<Hello> parse_hello(std::string_view line);

struct ProgressMessage {
  std::string id;
  double done = 0;  ///< the share that is done, 0 to 1
  Measurements partial;
  ExampleValues examples;
  /// What was left out of it because it is not valid, naming the field.
  std::string defect;
};

struct ResultMessage {
  std::string id;
  Measurements objectives;
  std::vector<double> constraints;
  Metrics metrics;
  ExampleValues examples;
  ReportedCost cost;
  /// What is wrong with its values, naming the field; then the attempt fails.
  std::string defect;
};

struct ErrorMessage {
  std::string id;
  ReplyKind kind = ReplyKind::fault;
  TrialStatus status = TrialStatus::failed;  ///< infeasible or unknown: with `done` only
  std::string text;
  ReportedCost cost;
};

using EvaluatorMessage = std::variant<ProgressMessage, ResultMessage, ErrorMessage>;

/// What an evaluator says after its hello.  An error means that the line cannot be attributed to
/// a request.
Result<EvaluatorMessage> parse_message(std::string_view line);

/// The replies that messages stand for; the ticket is left to the caller.  A result that lacks an
/// objective fails; in progress it is NaN, and outcome.reason says what was left out.
/// `measured_s`: the seconds that the attempt took, where the evaluator does not say.
EvaluationReply reply_of(const ProgressMessage& message, const std::vector<Objective>& objectives);
EvaluationReply reply_of(const ResultMessage& message, const std::vector<Objective>& objectives,
                         double measured_s);
EvaluationReply reply_of(const ErrorMessage& message, double measured_s);

/// Lines with their end.  Parameters that the job leaves out are sent with their declared
/// defaults, fidelity 0 as the declared default.
std::string evaluate_line(const EvaluationRequest& request, const EvaluatorDescription& declared);
std::string cancel_line(const std::string& id);

}  // namespace paretod
